//! A Redis Stream, read by one consumer of a group on a connection of its own: a read that waits holds nobody else up. What the entries mean is
//! not known here.
//!
//! Entries are read in this order: those of ours that were never acknowledged, those that another consumer left, new ones.

use std::time::Duration;

use redis::{Pipeline, Value, cmd};
use tastemaker_config::{RedisBreakerConfig, RedisConfig};
use tastemaker_types::Window;

use crate::reply::{bytes, count, list, pairs, text};
use crate::{Client, Operation, RedisError};

/// How long a read waits for new entries.
const WAIT: Duration = Duration::from_secs(1);
/// Beyond that, for the answer to be on its way.
const ANSWER: Duration = Duration::from_secs(2);

const CREATE: Operation = Operation::once("stream_create").bulk();
const READ: Operation = Operation::once("stream_read").bulk();
const CLAIM: Operation = Operation::once("stream_claim").bulk();
const ACKNOWLEDGE: Operation = Operation::repeatable("stream_acknowledge").bulk();
const REFUSE: Operation = Operation::once("stream_refuse").bulk();
const INFO: Operation = Operation::repeatable("stream_info").bulk();

/// Where a stream is, and who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// The key.
    pub key: String,
    /// The consumer group.
    pub group: String,
    /// Our name in it.
    pub consumer: String,
    /// The most entries read at once.
    pub batch: usize,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Milliseconds and a number, `1692632086370-0`.
    pub id: String,
    /// Fields and values in order; `None` if the entry was deleted, or trimmed away, before anybody acknowledged it.
    pub fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// How far a group is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLag {
    /// Entries that the group has not been given yet; `None` where Redis cannot tell (before version 7, or after deletions).
    pub waiting: Option<u64>,
    /// Entries that were given to a consumer and not acknowledged.
    pub pending: u64,
}

/// A consumer of a stream. A broken connection is made anew by the next command; one that is only silent, with a new `StreamReader`.
#[derive(Debug)]
pub struct StreamReader {
    client: Client,
    settings: StreamSettings,
}

impl StreamReader {
    /// For the Redis at `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// If URL or certificates cannot be used.
    pub fn open(url: &str, redis: &RedisConfig, settings: StreamSettings) -> Result<Self, RedisError> {
        let wait = redis.command_timeout.to_duration() + WAIT + ANSWER;
        let least = Window::from_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        let own = RedisConfig {
            connections: 1,
            bulk_timeout: redis.bulk_timeout.max(least),
            // Who reads a stream waits between attempts; nobody else is to be spared.
            breaker: RedisBreakerConfig { failures: u32::MAX, ..redis.breaker.clone() },
            ..redis.clone()
        };
        Ok(Self { client: Client::open(url, &own, std::sync::Arc::new(()))?, settings })
    }

    /// Makes the group, and the stream, if they are not there. A group that is new begins with the oldest entry.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn ensure_group(&self) -> Result<(), RedisError> {
        let StreamSettings { key, group, .. } = &self.settings;
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(key).arg(group).arg("0").arg("MKSTREAM");
        match self.client.call(CREATE, &create).await {
            Err(RedisError::Refused { message, .. }) if message.starts_with("BUSYGROUP") => Ok(()),
            Err(RedisError::WrongType { .. }) => Err(RedisError::Settings(format!(
                "the key {key:?} in Redis is no stream; see events.source.redis_stream"
            ))),
            answer => answer.map(|_| ()),
        }
    }

    /// Entries that were given to us after the one with id `after` (`0`: all) and not acknowledged.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn unacknowledged(&self, after: &str) -> Result<Vec<StreamEntry>, RedisError> {
        self.read(after, None).await
    }

    /// New entries; waits a second for them.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn next(&self) -> Result<Vec<StreamEntry>, RedisError> {
        self.read(">", Some(WAIT)).await
    }

    async fn read(&self, from: &str, wait: Option<Duration>) -> Result<Vec<StreamEntry>, RedisError> {
        let StreamSettings { key, group, consumer, batch } = &self.settings;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(consumer).arg("COUNT").arg(*batch);
        if let Some(wait) = wait {
            read.arg("BLOCK").arg(wait.as_millis().to_string());
        }
        read.arg("STREAMS").arg(key).arg(from);
        let answer = self.client.call(READ, &read).await?;
        let unreadable = RedisError::answer(READ.name(), "entries of a stream", &answer);
        streams(answer).ok_or(unreadable)
    }

    /// Takes over entries, from id `from` on, that no consumer has acknowledged for `idle`: the entries, and where to go on; `None` at the end.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn claim(&self, idle: Duration, from: &str) -> Result<(Vec<StreamEntry>, Option<String>), RedisError> {
        let StreamSettings { key, group, consumer, batch } = &self.settings;
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(key).arg(group).arg(consumer).arg(idle.as_millis().to_string()).arg(from).arg("COUNT").arg(*batch);
        let answer = self.client.call(CLAIM, &claim).await?;
        let unreadable = RedisError::answer(CLAIM.name(), "an id and entries of a stream", &answer);
        claimed(answer).ok_or(unreadable)
    }

    /// Tells Redis that these entries are done with.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn acknowledge(&self, ids: &[&str]) -> Result<(), RedisError> {
        if ids.is_empty() {
            return Ok(());
        }
        let StreamSettings { key, group, .. } = &self.settings;
        self.client.call(ACKNOWLEDGE, cmd("XACK").arg(key).arg(group).arg(ids)).await.map(|_| ())
    }

    /// Adds entries to another stream, which is kept at about `most` entries.
    ///
    /// # Errors
    /// [`RedisError`]; some may have been added.
    pub async fn add(&self, stream: &str, most: usize, entries: &[Vec<(&[u8], &[u8])>]) -> Result<(), RedisError> {
        let mut pipeline = Pipeline::with_capacity(entries.len());
        for fields in entries {
            let add = pipeline.cmd("XADD").arg(stream).arg("MAXLEN").arg("~").arg(most).arg("*");
            fields.iter().for_each(|(field, value)| {
                add.arg(*field).arg(*value);
            });
        }
        let answers = self.client.pipeline(REFUSE, &pipeline).await?;
        answers.into_iter().try_for_each(|answer| answer.map(|_| ()))
    }

    /// How far the group is behind.
    ///
    /// # Errors
    /// [`RedisError`]; also if the group is gone.
    pub async fn lag(&self) -> Result<StreamLag, RedisError> {
        let StreamSettings { key, group, .. } = &self.settings;
        let answer = self.client.call(INFO, cmd("XINFO").arg("GROUPS").arg(key)).await?;
        let unreadable = RedisError::answer(INFO.name(), "groups of a stream", &answer);
        lag(answer, group).ok_or(unreadable)
    }
}

/// RESP2 answers a list of key and entries for each stream, RESP3 a map; nothing means that nothing came. There is only our stream.
fn streams(answer: Value) -> Option<Vec<StreamEntry>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        Value::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
        Value::Array(streams) => {
            let entries = |stream| list(stream).and_then(|mut parts| parts.pop());
            streams.into_iter().map(entries).collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    let all: Option<Vec<Vec<StreamEntry>>> = streams.into_iter().map(entries).collect();
    Some(all?.into_iter().flatten().collect())
}

fn entries(value: Value) -> Option<Vec<StreamEntry>> {
    // Before version 7, an entry that was deleted is claimed as nothing at all.
    list(value)?.into_iter().filter(|entry| !matches!(entry, Value::Nil)).map(entry).collect()
}

fn entry(value: Value) -> Option<StreamEntry> {
    let mut parts = list(value)?.into_iter();
    let (id, fields) = (text(parts.next()?)?, parts.next()?);
    let fields = match fields {
        Value::Nil => None,
        fields => Some(pairs(fields)?.into_iter().map(|(f, v)| Some((bytes(f)?, bytes(v)?))).collect::<Option<_>>()?),
    };
    Some(StreamEntry { id, fields })
}

/// The next id, the entries and, from version 7 on, ids of entries that were deleted, which Redis has forgotten by itself.
fn claimed(answer: Value) -> Option<(Vec<StreamEntry>, Option<String>)> {
    let mut parts = list(answer)?.into_iter();
    let (next, mut found) = (text(parts.next()?)?, entries(parts.next()?)?);
    for id in parts.next().and_then(list).unwrap_or_default() {
        found.push(StreamEntry { id: text(id)?, fields: None });
    }
    Some((found, Some(next).filter(|next| next != "0-0")))
}

fn lag(answer: Value, group: &str) -> Option<StreamLag> {
    let groups: Vec<Vec<(String, Value)>> = list(answer)?
        .into_iter()
        .map(|group| pairs(group)?.into_iter().map(|(key, value)| Some((text(key)?, value))).collect())
        .collect::<Option<_>>()?;
    let ours = groups.into_iter().find(|fields| {
        fields.iter().any(|(key, value)| key == "name" && text(value.clone()).as_deref() == Some(group))
    })?;
    let number = |name: &str| ours.iter().find(|(key, _)| key == name).and_then(|(_, value)| count(value));
    Some(StreamLag { waiting: number("lag"), pending: number("pending")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn both_protocols_are_read_alike() {
        let entries = Value::Array(vec![
            Value::Array(vec![word("1-0"), Value::Array(vec![word("type"), word("click")])]),
            Value::Array(vec![word("2-0"), Value::Nil]),
        ]);
        let expected = vec![
            StreamEntry { id: "1-0".into(), fields: Some(vec![(b"type".to_vec(), b"click".to_vec())]) },
            StreamEntry { id: "2-0".into(), fields: None },
        ];
        let old = Value::Array(vec![Value::Array(vec![word("shop"), entries.clone()])]);
        let new = Value::Map(vec![(word("shop"), entries.clone())]);
        assert_eq!(streams(old), Some(expected.clone()));
        assert_eq!(streams(new), Some(expected.clone()));
        assert_eq!(streams(Value::Nil), Some(Vec::new()));
        assert_eq!(streams(Value::Int(1)), None);

        let more = Value::Array(vec![word("3-0"), entries.clone(), Value::Array(vec![word("9-9")])]);
        let (found, next) = claimed(more).unwrap();
        assert_eq!((found.len(), next.as_deref()), (3, Some("3-0")));
        assert_eq!(found[2], StreamEntry { id: "9-9".into(), fields: None });
        assert_eq!(claimed(Value::Array(vec![word("0-0"), entries])), Some((expected, None)));
    }

    #[test]
    fn the_lag_is_that_of_our_group_and_may_be_unknown() {
        let group = |name: &str, lag: Value| {
            let fields = vec![word("name"), word(name), word("pending"), Value::Int(2), word("lag"), lag];
            Value::Array(fields)
        };
        let groups = Value::Array(vec![group("other", Value::Int(9)), group("ours", Value::Nil)]);
        assert_eq!(lag(groups.clone(), "ours"), Some(StreamLag { waiting: None, pending: 2 }));
        assert_eq!(lag(groups.clone(), "other"), Some(StreamLag { waiting: Some(9), pending: 2 }));
        assert_eq!(lag(groups, "nobody"), None);
    }
}
