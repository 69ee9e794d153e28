//! The answers of the health endpoints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// Always `ok`.
    pub status: String,
}

/// Whether requests should be sent here, and what there is to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// `ready`, or `draining` after a signal to stop.
    pub status: String,
    /// The generation that serves; null before the first training.
    pub generation: Option<GenerationHealth>,
    /// The newest generation that was refused, until another is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_generation: Option<RefusedGeneration>,
    /// The event log.
    pub log: LogHealth,
    /// Items in the catalog.
    pub items: usize,
    /// Users with state.
    pub users: usize,
}

/// The generation that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationHealth {
    /// Its version.
    pub version: u64,
    /// Seconds since it was trained.
    pub age_seconds: f64,
}

/// A generation that did not pass its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedGeneration {
    /// Its version; null if the pointer itself could not be read.
    pub version: Option<u64>,
    /// Why.
    pub reason: String,
}

/// The state of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogHealth {
    /// Records appended.
    pub appended: u64,
    /// Records applied to online state.
    pub applied: u64,
}
