//! `[redis]`: how the Redis that `storage.online` names is reached, how long it may take, and what its index is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tastemaker_types::Window;

/// What answers at `storage.online`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisTopology {
    /// One server, or a proxy that looks like one.
    Standalone,
    /// Sentinels that know the present master.
    Sentinel,
    /// A node of a Redis Cluster.
    Cluster,
}

/// The version of Redis's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisProtocol {
    /// For proxies that know no newer one.
    Resp2,
    /// From Redis 6 on.
    Resp3,
}

/// The structure of the vector index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisIndexKind {
    /// A graph: approximate, fast for many items.
    Hnsw,
    /// Exact: every vector is looked at.
    Flat,
}

/// The type of a vector's components in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisVectorType {
    /// 4 bytes each.
    Float32,
    /// 2 bytes each.
    Float16,
}

/// `[redis]`. It counts only where `storage.online` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// What the names of all keys and indexes of this project begin with, such as `"shop:"`. Projects that share a Redis need one each.
    pub prefix: String,
    /// What answers at `storage.online`: `standalone`, `sentinel` or `cluster`.
    pub topology: RedisTopology,
    /// Further addresses, `host:port`, of sentinels or cluster nodes.
    pub nodes: Vec<String>,
    /// The ACL user, if `storage.online` does not name it.
    pub username: Option<String>,
    /// The password, if `storage.online` does not hold it. Better given as `TASTEMAKER_REDIS__PASSWORD` than in a file.
    #[schemars(extend("x-secret" = true))]
    pub password: Option<String>,
    /// `resp3`, or `resp2` for proxies that know no newer protocol.
    pub protocol: RedisProtocol,
    /// Connections that commands are spread over.
    #[schemars(range(min = 1, max = 64))]
    pub connections: usize,
    /// The longest time for making a connection.
    pub connect_timeout: Window,
    /// The longest time for one command, or one pipeline, of a request; a retry is within it.
    pub command_timeout: Window,
    /// The longest time for a pipeline or command of a bulk load.
    pub bulk_timeout: Window,
    /// Retries in a burst; each ten commands that succeed earn one more. 0: never retry.
    #[schemars(range(min = 0, max = 10000))]
    pub retry_budget: u32,
    /// Answers that a server searches for in Redis at once. Redis searches one after the other, so more of them would only wait: they are made from what
    /// is in the process instead, and say `redis:busy`.
    #[schemars(range(min = 1, max = 4096))]
    pub concurrent_searches: usize,
    /// Items that a server remembers in the process, the latest asked for; Redis tells it what has changed (client tracking). 0: none.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub cached_items: u64,
    /// How many commands a bulk load sends before it reads their answers.
    #[schemars(range(min = 1, max = 100000))]
    pub pipeline: usize,
    /// How long Redis remembers that an item or user was deleted, so that a late write does not bring it back.
    pub tombstone_ttl: Window,
    /// How long a generation stays in Redis after another took its place: so long, going back is at once.
    pub retire_after: Window,
    /// When commands are not even tried.
    pub breaker: RedisBreakerConfig,
    /// The vector index.
    pub index: RedisIndexConfig,
    /// Certificates, for `rediss://`.
    pub tls: RedisTlsConfig,
    /// The sentinels, for `topology = "sentinel"`.
    pub sentinel: RedisSentinelConfig,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            topology: RedisTopology::Standalone,
            nodes: Vec::new(),
            username: None,
            password: None,
            protocol: RedisProtocol::Resp3,
            connections: 2,
            connect_timeout: Window::from_millis(500),
            command_timeout: Window::from_millis(50),
            bulk_timeout: Window::from_millis(10_000),
            retry_budget: 10,
            concurrent_searches: 8,
            cached_items: 100_000,
            pipeline: 512,
            tombstone_ttl: Window::from_days(7),
            retire_after: Window::from_millis(3_600_000),
            breaker: RedisBreakerConfig::default(),
            index: RedisIndexConfig::default(),
            tls: RedisTlsConfig::default(),
            sentinel: RedisSentinelConfig::default(),
        }
    }
}

/// `[redis.breaker]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisBreakerConfig {
    /// So many commands in a row without an answer, and the next ones fail at once until Redis answers a ping.
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
    /// How often it is pinged then.
    pub probe_interval: Window,
}

impl Default for RedisBreakerConfig {
    fn default() -> Self {
        Self { failures: 5, probe_interval: Window::from_millis(200) }
    }
}

/// `[redis.index]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisIndexConfig {
    /// `hnsw` or `flat`.
    pub kind: RedisIndexKind,
    /// `float32` or `float16`.
    pub vector_type: RedisVectorType,
    /// Links of a node of the graph (`hnsw`).
    #[schemars(range(min = 2, max = 512))]
    pub m: usize,
    /// Candidates looked at while an item is put into the graph (`hnsw`).
    #[schemars(range(min = 8, max = 4096))]
    pub ef_construction: usize,
    /// The least candidates looked at while searching (`hnsw`). Publishing doubles it for a generation that needs more, up to 16 times; and it is never
    /// fewer than half as many again as are asked for.
    #[schemars(range(min = 1, max = 4096))]
    pub ef_runtime: usize,
}

impl Default for RedisIndexConfig {
    fn default() -> Self {
        Self {
            kind: RedisIndexKind::Hnsw,
            vector_type: RedisVectorType::Float32,
            m: 16,
            ef_construction: 400,
            ef_runtime: 400,
        }
    }
}

/// `[redis.tls]`. Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTlsConfig {
    /// The certificates of the authorities to trust. Left out: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, where Redis asks for one.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
}

/// `[redis.sentinel]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisSentinelConfig {
    /// What the sentinels call the master.
    pub master: String,
    /// The ACL user of the sentinels themselves.
    pub username: Option<String>,
    /// The password of the sentinels themselves.
    #[schemars(extend("x-secret" = true))]
    pub password: Option<String>,
}

impl Default for RedisSentinelConfig {
    fn default() -> Self {
        Self { master: "mymaster".to_owned(), username: None, password: None }
    }
}
