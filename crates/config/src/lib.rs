//! `tastemaker.toml`: its types, their defaults and limits, and how the project file, the environment and the command
//! line are laid over each other. Nothing here opens any file but the project file.

mod check;
mod error;
mod events;
mod features;
mod import;
mod items;
mod load;
mod recommend;
mod redis;
mod schema;
mod server;
mod show;
mod size;
mod source;
mod training;
mod tree;
mod validate;
mod validate_features;
mod validate_items;
mod validate_redis;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use error::{ConfigError, Origin, Problem};
pub use events::{EntityConfig, EventTypeConfig, EventTypes, IMPRESSION, UnknownEventType};
pub use features::{AggregateKind, DefaultValue, Entity, FeatureConfig, FeatureKind, FeatureViewConfig};
pub use import::{EntityMapping, EventColumns, EventMapping, FileFormat, FileOptions, ImportConfig, TimestampUnit};
pub use items::{ItemsConfig, ItemsSourceConfig, NotATable, TableName};
pub use load::{ENV_PREFIX, FILE_NAME, InvalidOverride, LoadOptions, Loaded};
pub use recommend::{DiversityConfig, ExcludeSeen, RecommendConfig, SourceConfig, SourcesConfig};
pub use redis::{
    RedisBreakerConfig, RedisConfig, RedisIndexConfig, RedisIndexKind, RedisProtocol, RedisSentinelConfig,
    RedisTlsConfig, RedisTopology, RedisVectorType,
};
pub use schema::schema;
pub use server::{ApiKey, LogFormat, LoggingConfig, ProjectConfig, Scope, ServerConfig, StorageConfig};
pub use show::Setting;
pub use size::{ByteSize, NotASize};
pub use source::{EventSourceConfig, EventsConfig};
pub use training::{EmbeddingModel, EmbeddingsConfig, TrainingConfig};

/// A whole project: `tastemaker.toml`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "tastemaker.toml")]
pub struct Config {
    /// What the project is.
    pub project: ProjectConfig,
    /// Where its data lives.
    pub storage: StorageConfig,
    /// The Redis that `storage.online` names.
    pub redis: RedisConfig,
    /// What is recommended.
    pub items: ItemsConfig,
    /// Who it is recommended to.
    pub users: EntityConfig,
    /// What users do with items: names and what they mean. Left out: `impression`, `click`, `rating` (positive from 4
    /// on) and `purchase`. The name `source` is no type: `[events.source]` says where events come from.
    pub events: EventsConfig,
    /// Streaming and derived features.
    pub features: Vec<FeatureConfig>,
    /// Batch features: tables of one's own.
    pub feature_views: Vec<FeatureViewConfig>,
    /// Named lists of features, each as it is asked for (`recent`, `item.ctr` or `VIEW:FEATURE`), for clients that ask for a `feature_service`.
    pub feature_services: IndexMap<String, Vec<String>>,
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

/// The project file that `tastemaker init` writes: commented, and every setting in it at its default.
pub const TEMPLATE: &str = include_str!("template.toml");

impl Config {
    /// A SHA-256 in hexadecimal over what a trained generation depends on: the meaning of events, the model, and what it
    /// is measured on. The same settings give the same hash, whatever file they came from.
    pub fn config_hash(&self) -> String {
        let TrainingConfig { holdout, .. } = self.training;
        let text = to_value(&(&self.events.types, &self.embeddings, holdout, self.recommend.exclude_seen)).to_string();
        server::hex(&Sha256::digest(text.as_bytes()))
    }
}

/// As JSON. Settings are plain data, so this cannot fail; if it did, `null` would be refused by every reader.
fn to_value<T: Serialize>(settings: &T) -> serde_json::Value {
    serde_json::to_value(settings).unwrap_or_default()
}
