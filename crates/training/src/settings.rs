//! From the project's settings to a factoriser.

use tastemaker_config::{EmbeddingModel, EmbeddingsConfig};
use tastemaker_models::{Als, Factorizer, NormalizedSvd};

/// The factoriser that `embeddings` asks for, to run for `iterations`.
pub(crate) fn factorizer(embeddings: &EmbeddingsConfig, iterations: usize) -> Box<dyn Factorizer> {
    match embeddings.model {
        EmbeddingModel::Als => Box::new(Als {
            rank: embeddings.rank,
            iterations,
            unobserved_weight: embeddings.unobserved_weight as f32,
            regularization: embeddings.regularization as f32,
            regularization_exponent: embeddings.regularization_exponent as f32,
            seed: embeddings.seed,
            threads: 0, // the pool that the run is in
            ..Als::default()
        }),
        EmbeddingModel::NormalizedSvd => Box::new(NormalizedSvd {
            rank: embeddings.rank,
            iterations,
            item_exponent: embeddings.degree_exponent as f32,
            seed: embeddings.seed,
            threads: 0, // the pool that the run is in
            ..NormalizedSvd::default()
        }),
    }
}

/// The name of the model in a manifest.
pub(crate) fn kind(embeddings: &EmbeddingsConfig) -> &'static str {
    match embeddings.model {
        EmbeddingModel::Als => "als",
        EmbeddingModel::NormalizedSvd => "normalized_svd",
    }
}
