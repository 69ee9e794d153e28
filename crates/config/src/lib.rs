//! `tastemaker.toml`: its types, their defaults and limits, and how the project file, the environment and the command
//! line are laid over each other. Nothing here opens any file but the project file.

mod events;
mod import;
mod recommend;
mod server;
mod size;
mod training;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use events::{EntityConfig, EventTypeConfig, EventTypes, IMPRESSION, UnknownEventType};
pub use import::{EntityMapping, EventColumns, EventMapping, FileFormat, FileOptions, ImportConfig, TimestampUnit};
pub use recommend::{DiversityConfig, ExcludeSeen, RecommendConfig, SourceConfig, SourcesConfig};
pub use server::{ApiKey, LogFormat, LoggingConfig, ProjectConfig, Scope, ServerConfig, StorageConfig};
pub use size::{ByteSize, NotASize};
pub use training::{EmbeddingModel, EmbeddingsConfig, TrainingConfig};

/// A whole project: `tastemaker.toml`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the project is.
    pub project: ProjectConfig,
    /// Where its data lives.
    pub storage: StorageConfig,
    /// What is recommended.
    pub items: EntityConfig,
    /// Who it is recommended to.
    pub users: EntityConfig,
    /// What users do with items: names and what they mean. Left out: `impression`, `click` and `purchase`.
    pub events: EventTypes,
    /// The vectors of items and users.
    pub embeddings: EmbeddingsConfig,
    /// Training and evaluation.
    pub training: TrainingConfig,
    /// How an answer is made.
    pub recommend: RecommendConfig,
    /// The HTTP service.
    pub server: ServerConfig,
    /// How imported files are read.
    pub import: ImportConfig,
    /// The process's own log.
    pub logging: LoggingConfig,
}
