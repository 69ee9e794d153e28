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
    /// `ready`, `starting` before anything can be answered, or `draining` after a signal to stop.
    pub status: String,
    /// The generation that serves; null before the first training.
    pub generation: Option<GenerationHealth>,
    /// The newest generation that was refused, until another is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_generation: Option<RefusedGeneration>,
    /// The Redis that answers are made from; left out where they are made from this process's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<OnlineHealth>,
    /// The event log.
    pub log: LogHealth,
    /// Items in the catalog.
    pub items: usize,
    /// Users with state.
    pub users: usize,
}

/// How the Redis stands that answers are made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OnlineHealth {
    /// `closed`: it is asked; `open`: it does not answer and is pinged; `half_open`: a ping is under way.
    pub breaker: String,
    /// Whether it has everything. While not, answers are made without it and say so.
    pub whole: bool,
    /// The generation that it serves; null before the first publication.
    pub generation: Option<u64>,
    /// Why this server does not answer with that generation, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_model: Option<String>,
    /// Records of the log that it has.
    pub records: u64,
    /// Users and items that wait to be written to it; left out on a server without the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<usize>,
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
