//! The service and the process around it: `[project]`, `[storage]`, `[server]` and `[logging]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest, Sha256};
use tastemaker_types::Window;

use crate::ByteSize;

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectConfig {
    /// What the project is called in logs and metrics.
    pub name: String,
}

impl Default for ProjectConfig {
    fn default() -> Self {
        Self { name: "tastemaker".to_owned() }
    }
}

/// `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The folder of the event log and the models. A relative path starts at the folder of the project file.
    pub data_dir: PathBuf,
    /// The URL of a Redis with its search module that answers are made from, `redis://host:6379` or `rediss://` with TLS. Left out: embedded in the
    /// process.
    pub online: Option<String>,
    /// The event log starts a new file at this size.
    pub segment_size: ByteSize,
}

impl StorageConfig {
    /// The folder of the event log.
    pub fn log_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }

    /// The folder of the model generations.
    pub fn generations_dir(&self) -> PathBuf {
        self.data_dir.join("generations")
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("data"), online: None, segment_size: ByteSize::mib(64) }
    }
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address and port to listen on. Anything but loopback needs `[[server.api_keys]]`.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether this server keeps no event log and answers from `storage.online` alone, beside the one server that has the log and takes writes. It
    /// needs the folder of generations in `storage.data_dir`, which may be a copy or shared.
    pub stateless: bool,
    /// The largest request body.
    pub body_limit: ByteSize,
    /// The longest time for one request.
    pub request_timeout: Window,
    /// Requests worked on at once; more are refused with 503.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrency_limit: usize,
    /// The most events, items or users in one request.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_limit: usize,
    /// How long running requests may take to end after SIGTERM.
    pub shutdown_grace: Window,
    /// Who may call. Without any, only loopback is served, and everything is allowed.
    pub api_keys: Vec<ApiKey>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("'{text}' is not an address and port; write 127.0.0.1:8080")))
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            stateless: false,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            body_limit: ByteSize::mib(16),
            request_timeout: Window::from_millis(10_000),
            concurrency_limit: 1_024,
            batch_limit: 10_000,
            shutdown_grace: Window::from_millis(20_000),
            api_keys: Vec::new(),
        }
    }
}

/// What an API key may do. `admin` allows everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask for recommendations and read items and users.
    Read,
    /// Send events, items and users.
    Write,
    /// Promote models and all of the above.
    Admin,
}

/// One of `[[server.api_keys]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whose it is; shown in logs.
    pub name: String,
    /// The SHA-256 of the key, as 64 hexadecimal digits (`printf %s "$KEY" | sha256sum`). The key itself is stored
    /// nowhere.
    #[schemars(extend("x-secret" = true))]
    pub hash: String,
    /// What it may do: `read`, `write`, `admin`.
    pub scopes: Vec<Scope>,
}

impl ApiKey {
    /// The `hash` of a key: its SHA-256 in lower-case hexadecimal.
    pub fn hash_of(key: &str) -> String {
        hex(&Sha256::digest(key.as_bytes()))
    }

    /// Whether the key may do what `scope` says.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|s| *s == scope || *s == Scope::Admin)
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[logging]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or levels by module: `info,tastemaker_server=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}
