//! Models and their generations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model of the project with all its generations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its name.
    #[schema(example = "embeddings")]
    pub name: String,
    /// The generation that should serve; null before the first training.
    pub champion: Option<u64>,
    /// The generation that this server serves; another than the champion for the moment of a switch, or if the champion
    /// was refused.
    pub serving: Option<u64>,
    /// Every generation, oldest first.
    pub generations: Vec<GenerationInfo>,
}

/// One generation of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationInfo {
    /// Its version: 1, 2, 3 …
    pub version: u64,
    /// Whether it is the champion.
    pub champion: bool,
    /// Whether this server serves it.
    pub serving: bool,
    /// When, from what and how it was trained, and its metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub manifest: Option<serde_json::Value>,
    /// What is wrong with it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All models of the project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelsResponse {
    /// By name.
    pub models: Vec<Model>,
}

/// Which generation to promote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// Its version.
    pub version: u64,
}
