//! What Redis says of the project as a whole.

use std::fmt::Debug;
use std::sync::Arc;

use tastemaker_config::Config;
use tastemaker_features::set::FeatureSet;
use tastemaker_redis::layout::meta;
use tastemaker_redis::{Client, Operation, Pipeline, RedisError, Value, cmd, fields};
use xxhash_rust::xxh3::xxh3_64;

use crate::RemoteError;

const READ: Operation = Operation::repeatable("meta").bulk();
/// Of which settings everything was written.
pub(crate) const DEFINITIONS: &str = "definitions";
/// The moment that the rankings are of.
pub(crate) const RANKINGS_AT: &str = "rankings_at";
/// With a name of whoever does it behind it, there while everything is being written for the first time, or anew: under which definitions.
pub(crate) const FILLING: &str = "filling:";
/// The run ids of the servers when everything was there last.
pub(crate) const NODES: &str = "nodes";
/// The generation that is being published.
pub(crate) const PUBLISHING: &str = "publishing";
/// With a generation's number behind it: that generation was loaded whole, and its index needs searches of this breadth.
pub(crate) const PUBLISHED: &str = "published:";
/// With a generation's number behind it: when it ceased to serve, in microseconds since 1970.
pub(crate) const RETIRED: &str = "retired:";

/// The fields of `meta` that others than their writers go by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    /// Whether everything was written at some time, and nothing lost since.
    pub(crate) whole: bool,
    /// Whose it is, if so.
    pub(crate) project: Option<String>,
    /// Which servers had everything.
    pub(crate) nodes: Option<String>,
    /// [`definitions`] of those who wrote it.
    pub(crate) definitions: Option<String>,
    /// The generation that serves.
    pub(crate) generation: Option<u64>,
    /// The one that is being published.
    pub(crate) publishing: Option<u64>,
    /// The log position up to which Redis has everything.
    pub(crate) log_position: Option<u64>,
    /// Changes with the rankings.
    pub(crate) rankings_at: Option<i64>,
}

impl Meta {
    pub(crate) async fn read(client: &Client) -> Result<Self, RemoteError> {
        let mut get = cmd("HMGET");
        let names = [meta::PROJECT, meta::GENERATION, PUBLISHING, meta::LOG_POSITION, RANKINGS_AT, DEFINITIONS, NODES];
        get.arg(client.layout().meta()).arg(&names);
        let Value::Array(values) = client.call(READ, &get).await? else { return Ok(Self::default()) };
        let text = |place: usize| match values.get(place) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let number = |place: usize| text(place)?.parse().ok();
        Ok(Self {
            whole: text(0).is_some(),
            project: text(0).map(str::to_owned),
            definitions: text(5).map(str::to_owned),
            nodes: text(6).map(str::to_owned),
            generation: number(1),
            publishing: number(2),
            log_position: number(3),
            rankings_at: text(4).and_then(|at| at.parse().ok()),
        })
    }

    /// What is noted of generations under a prefix.
    pub(crate) async fn of_generations(client: &Client, prefix: &str) -> Result<Vec<(u64, i64)>, RemoteError> {
        let mut get = cmd("HGETALL");
        get.arg(client.layout().meta());
        let fields = fields(client.call(READ, &get).await?).unwrap_or_default();
        let noted = fields.iter().filter_map(|(name, value)| {
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, std::str::from_utf8(value).ok()?.parse().ok()?))
        });
        Ok(noted.collect())
    }
}

/// What asks, along with other commands, whether Redis has everything, of certain definitions: of one that lost its data just now, nobody and nothing
/// would be known.
pub(crate) fn ask_whole(pipeline: &mut Pipeline, client: &Client) {
    pipeline.cmd("HGET").arg(client.layout().meta()).arg(DEFINITIONS);
}

/// The answer to that.
pub(crate) fn check_whole(answer: Option<Result<Value, RedisError>>, definitions: &str) -> Result<(), RemoteError> {
    match answer.transpose()? {
        Some(Value::BulkString(found)) if found == definitions.as_bytes() => Ok(()),
        _ => Err(RemoteError::NotWhole),
    }
}

/// Everything that what is written depends on beside the log, as one word: what was written under another one would be misread.
pub(crate) fn definitions(config: &Config, features: &FeatureSet) -> Arc<str> {
    let recommend = &config.recommend;
    let remembered =
        (recommend.history_length, recommend.seen_length, recommend.exclude_seen, recommend.popular_window);
    let attributes = [config.items.schema(), config.users.schema()];
    let index = &config.redis.index;
    let (project, features) = (&config.project.name, features.stored_fingerprint());
    let all: [&dyn Debug; 6] = [project, &features, &attributes, &config.events.types, &remembered, index];
    format!("{:016x}", xxh3_64(format!("{all:?}").as_bytes())).into()
}
