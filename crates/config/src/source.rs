//! `[events]`: the types of events, and `[events.source]`, the Redis Stream that events come from beside HTTP.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tastemaker_types::Window;

use crate::EventTypes;

/// `[events]`. Whatever is not `source` is a type of events; most readers want nothing else of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EventsConfig {
    /// Where events come from beside HTTP.
    #[serde(default)]
    pub source: EventSourceConfig,
    /// The types of events.
    #[serde(flatten)]
    pub types: EventTypes,
}

impl Deref for EventsConfig {
    type Target = EventTypes;

    fn deref(&self) -> &EventTypes {
        &self.types
    }
}

/// `[events.source]`. It counts only where `redis_stream` is set, on the server that has the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventSourceConfig {
    /// The key of a Redis Stream whose entries are events. Left out: events come over HTTP alone.
    pub redis_stream: Option<String>,
    /// The URL of the Redis that has the stream: one server, user and password in the URL, timeouts and certificates as in `[redis]`. Left out:
    /// that of `storage.online`, reached as `[redis]` says.
    pub url: Option<String>,
    /// The consumer group. Projects that read the same stream need one each.
    pub group: String,
    /// The name of this consumer in the group. Left out: the name of the host.
    pub consumer: Option<String>,
    /// The most entries read at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub batch: usize,
    /// Entries that another consumer took and has not acknowledged for so long are taken over.
    pub claim_after: Window,
    /// The key of the stream that refused entries go to. Left out: that of the stream and `:refused`.
    pub dead_letter: Option<String>,
    /// About so many refused entries are kept, the latest.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_refused: usize,
}

impl Default for EventSourceConfig {
    fn default() -> Self {
        Self {
            redis_stream: None,
            url: None,
            group: "tastemaker".to_owned(),
            consumer: None,
            batch: 1_000,
            claim_after: Window::from_millis(30_000),
            dead_letter: None,
            max_refused: 10_000,
        }
    }
}
