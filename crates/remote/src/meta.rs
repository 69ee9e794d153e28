//! What Redis says of the project as a whole.

use tastemaker_redis::layout::meta;
use tastemaker_redis::{Client, Operation, Value, cmd};

use crate::RemoteError;

const READ: Operation = Operation::repeatable("meta");
/// The moment that the rankings are of.
pub(crate) const RANKINGS_AT: &str = "rankings_at";
/// The generation that is being published.
pub(crate) const PUBLISHING: &str = "publishing";

/// The fields of `meta` that others than their writers go by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    /// Whether everything was written at some time, and nothing lost since.
    pub(crate) whole: bool,
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
        let names = [meta::PROJECT, meta::GENERATION, PUBLISHING, meta::LOG_POSITION, RANKINGS_AT];
        get.arg(client.layout().meta()).arg(&names);
        let Value::Array(values) = client.call(READ, &get).await? else { return Ok(Self::default()) };
        let text = |place: usize| match values.get(place) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let number = |place: usize| text(place)?.parse().ok();
        Ok(Self {
            whole: text(0).is_some(),
            generation: number(1),
            publishing: number(2),
            log_position: number(3),
            rankings_at: text(4).and_then(|at| at.parse().ok()),
        })
    }
}
