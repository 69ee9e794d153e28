//! How models are trained: `[embeddings]` and `[training]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The factoriser that makes item vectors and folds users in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingModel {
    /// Implicit-feedback matrix factorisation by alternating least squares (Rendle, Krichene, Zhang, Koren 2022).
    Als,
    /// Degree-normalised truncated singular value decomposition.
    NormalizedSvd,
}

/// `[embeddings]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingsConfig {
    /// The factoriser: `als` or `normalized_svd`.
    pub model: EmbeddingModel,
    /// The length of a vector.
    #[schemars(range(min = 1, max = 4096))]
    pub rank: usize,
    /// Sweeps over users and items (`als`), or subspace iterations (`normalized_svd`).
    #[schemars(range(min = 1, max = 1000))]
    pub iterations: usize,
    /// The weight of each user–item pair with no event, against 1 for an event of weight 1 (`als`).
    #[schemars(range(min = 0.0, max = 100.0))]
    pub unobserved_weight: f64,
    /// The strength of the L2 regulariser (`als`).
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub regularization: f64,
    /// How the regulariser grows with the number of events of a user or item: 0 not at all, 1 in proportion (`als`).
    #[schemars(range(min = 0.0, max = 2.0))]
    pub regularization_exponent: f64,
    /// The power of an item's degree that is divided out (`normalized_svd`).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub degree_exponent: f64,
    /// The same seed and data give the same vectors, whatever the number of threads.
    pub seed: u64,
    /// The share of each user's latest events kept aside to decide when to stop; used only with `early_stop_patience`.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub validation_fraction: f64,
    /// Stop after this many iterations without a better validation recall, and keep the best. 0: never stop early.
    #[schemars(range(min = 0, max = 100))]
    pub early_stop_patience: usize,
}

impl Default for EmbeddingsConfig {
    /// `als` with weights between what is best on sparse data (Gowalla: a smaller unobserved weight) and on dense (Complete Journey: a larger
    /// one); docs/models.md has both.
    fn default() -> Self {
        Self {
            model: EmbeddingModel::Als,
            rank: 64,
            iterations: 4,
            unobserved_weight: 0.05,
            regularization: 0.003,
            regularization_exponent: 1.0,
            degree_exponent: 0.4,
            seed: 42,
            validation_fraction: 0.05,
            early_stop_patience: 0,
        }
    }
}

/// `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// The share of events, the latest by time, that `train` and `evaluate` keep aside to measure on. `--no-holdout`
    /// trains on everything.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub holdout: f64,
    /// Metrics are measured on the first this many recommendations.
    #[schemars(range(min = 1, max = 1000))]
    pub metrics_at: usize,
    /// Generations kept for rollback, the champion included.
    #[schemars(range(min = 1, max = 1000))]
    pub keep_generations: usize,
    /// Threads for training. 0: one for each core.
    #[schemars(range(min = 0, max = 1024))]
    pub threads: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self { holdout: 0.1, metrics_at: 20, keep_generations: 3, threads: 0 }
    }
}
