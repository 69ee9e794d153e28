//! Models and their generations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One generation of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its version: 1, 2, 3 …
    pub version: u64,
    /// Whether it is the one that should serve.
    pub champion: bool,
    /// Whether this server has it loaded.
    pub serving: bool,
    /// The manifest: when, from what, with which settings it was trained, and its metrics.
    #[schema(value_type = Object)]
    pub manifest: serde_json::Value,
}

/// The generations of all models, or of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelsResponse {
    /// By name and version.
    pub models: Vec<Model>,
}

/// Which generation to promote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// Its version.
    pub version: u64,
}

/// What serves after a promotion or rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchResponse {
    /// The champion now.
    pub version: u64,
}
