//! Events from a Redis Stream: a task beside the server that has the log. An entry is acknowledged in Redis after its event is in the log, so every
//! entry gets there at least once; an event's id, which follows from its entry where it has none, makes that once. What is refused goes to a stream
//! of its own, with the reason. How entries become events is in `entry`, how Redis is asked in `tastemaker-redis`.

mod entry;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tastemaker_api::FieldError;
use tastemaker_config::{Config, RedisConfig, RedisTopology};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_redis::{RedisError, StreamEntry, StreamReader, StreamSettings};
use tastemaker_types::{Record, Timestamp};
use tokio::time::{Instant, sleep};

use crate::{Engine, EngineError};

/// The longest between two looks at what other consumers left, and at how far behind we are.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Before the first attempt to go on after a failure; doubled for each more, up to the other.
const BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// The most bytes of records in one write; half of what the log takes.
const WRITE_BYTES: usize = 16 << 20;

/// `[events.source]`, with everything that is left out there filled in.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    url: String,
    redis: RedisConfig,
    stream: StreamSettings,
    dead_letter: String,
    max_refused: usize,
    claim_after: Duration,
}

impl Source {
    /// None where the project has no such source.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let source = &config.events.source;
        let key = source.redis_stream.clone()?;
        let (url, redis) = match &source.url {
            None => (config.storage.online.clone()?, config.redis.clone()),
            // Nobody else's password is sent there.
            Some(url) => {
                let redis = RedisConfig {
                    topology: RedisTopology::Standalone,
                    nodes: Vec::new(),
                    username: None,
                    password: None,
                    ..config.redis.clone()
                };
                (url.clone(), redis)
            }
        };
        Some(Self {
            url,
            redis,
            dead_letter: source.dead_letter.clone().unwrap_or_else(|| format!("{key}:refused")),
            max_refused: source.max_refused,
            claim_after: source.claim_after.to_duration(),
            stream: StreamSettings {
                key,
                group: source.group.clone(),
                consumer: source.consumer.clone().unwrap_or_else(host_name),
                batch: source.batch,
            },
        })
    }

    /// Whether it could be read, as far as can be told without asking Redis.
    ///
    /// # Errors
    /// URL or certificates cannot be used.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self.open() {
            Ok(_) => Ok(()),
            Err(error) => Err(EngineError::setup("use the stream of [events.source]", &error)),
        }
    }

    fn open(&self) -> Result<StreamReader, RedisError> {
        StreamReader::open(&self.url, &self.redis, self.stream.clone())
    }
}

/// Why reading stopped for a moment.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Log(#[from] EngineError),
}

/// Reads the stream into the log of an engine.
pub(crate) struct Consumer {
    engine: Arc<Engine>,
    source: Source,
    /// Failures since something worked.
    failures: u32,
}

impl Consumer {
    pub(crate) fn new(engine: Arc<Engine>, source: Source) -> Self {
        for result in ["accepted", "duplicate", "refused", "lost"] {
            // So that an increase is seen from the first on.
            engine.monitor().count_to(&metrics::STREAM_ENTRIES, [result], 0);
        }
        engine.monitor().set(&metrics::STREAM_UP, [], 0.0);
        Self { engine, source, failures: 0 }
    }

    /// Reads until the task is dropped. What was read by then and not acknowledged comes again.
    pub(crate) async fn run(mut self) {
        loop {
            let Err(failure) = self.session().await;
            self.engine.monitor().set(&metrics::STREAM_UP, [], 0.0);
            if self.failures == 0 {
                let stream = &self.source.stream.key;
                tracing::warn!(stream, "no events come from the stream: {failure}; trying again until they do");
            }
            sleep(backoff(self.failures)).await;
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// From a new connection to the first failure.
    async fn session(&mut self) -> Result<Infallible, Failure> {
        let reader = self.source.open()?;
        reader.ensure_group().await?;
        let mut after = "0".to_owned();
        loop {
            let entries = reader.unacknowledged(&after).await?;
            let Some(last) = entries.last() else { break };
            after.clone_from(&last.id);
            self.take(&reader, &entries).await?;
        }
        let every = LOOK_EVERY.min(self.source.claim_after / 2);
        let mut look = Instant::now();
        loop {
            if Instant::now() >= look {
                self.take_over(&reader).await?;
                self.measure(&reader).await?;
                look = Instant::now() + every;
            }
            let entries = reader.next().await?;
            self.take(&reader, &entries).await?;
            self.well();
        }
    }

    fn well(&mut self) {
        if self.failures > 0 {
            tracing::info!(stream = self.source.stream.key, "events come from the stream again");
        }
        self.failures = 0;
        self.engine.monitor().set(&metrics::STREAM_UP, [], 1.0);
    }

    /// What consumers that are gone did not acknowledge.
    async fn take_over(&self, reader: &StreamReader) -> Result<(), Failure> {
        let mut from = Some("0".to_owned());
        while let Some(id) = from {
            let (entries, next) = reader.claim(self.source.claim_after, &id).await?;
            self.take(reader, &entries).await?;
            from = next;
        }
        Ok(())
    }

    async fn measure(&self, reader: &StreamReader) -> Result<(), Failure> {
        let lag = reader.lag().await?;
        let monitor = self.engine.monitor();
        monitor.set(&metrics::STREAM_LAG, [], lag.waiting.map_or(f64::NAN, |waiting| waiting as f64));
        monitor.set(&metrics::STREAM_PENDING, [], lag.pending as f64);
        Ok(())
    }

    /// Entries to the log, or to the stream of what is refused; then they are acknowledged.
    async fn take(&self, reader: &StreamReader, entries: &[StreamEntry]) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (mut records, mut refused) = (Vec::with_capacity(entries.len()), Vec::new());
        let (mut done, mut lost) = (Vec::with_capacity(entries.len()), 0);
        for entry in entries {
            let Some(fields) = &entry.fields else {
                lost += 1;
                done.push(entry.id.as_str());
                continue;
            };
            match entry::record(self.engine.rules(), &self.source.stream.key, &entry.id, fields, now) {
                Ok(record) => {
                    records.push(record);
                    done.push(entry.id.as_str());
                }
                Err(error) => refused.push((entry.id.as_str(), fields.as_slice(), error)),
            }
        }
        self.write(records).await?;
        reader.acknowledge(&done).await?;
        if lost > 0 {
            self.count("lost", lost);
            let stream = &self.source.stream.key;
            tracing::error!(
                stream,
                lost,
                "entries were deleted or trimmed away before they were read; keep more of the stream"
            );
        }
        self.refuse(reader, &refused).await
    }

    async fn write(&self, records: Vec<Record>) -> Result<(), Failure> {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while let Some(record) = records.next_if(|next| part.is_empty() || bytes + next.size_bound() <= WRITE_BYTES)
            {
                bytes += record.size_bound();
                part.push(record);
            }
            let appended = self.engine.write(part).await?;
            let duplicates = appended.iter().filter(|appended| appended.duplicate).count();
            self.count("accepted", appended.len() - duplicates);
            self.count("duplicate", duplicates);
        }
        Ok(())
    }

    async fn refuse(
        &self,
        reader: &StreamReader,
        refused: &[(&str, &entry::Fields, FieldError)],
    ) -> Result<(), Failure> {
        let Some((_, _, first)) = refused.first() else { return Ok(()) };
        let letters: Vec<Vec<(&[u8], &[u8])>> = refused
            .iter()
            .map(|(id, fields, error)| {
                let reason =
                    [("refused:entry", *id), ("refused:field", &error.field), ("refused:message", &error.message)];
                let reason = reason.into_iter().map(|(name, text)| (name.as_bytes(), text.as_bytes()));
                reason.chain(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))).collect()
            })
            .collect();
        reader.add(&self.source.dead_letter, self.source.max_refused, &letters).await?;
        let ids: Vec<&str> = refused.iter().map(|(id, _, _)| *id).collect();
        reader.acknowledge(&ids).await?;
        self.count("refused", refused.len());
        let (refused, field, dead_letter) = (refused.len(), &first.field, &self.source.dead_letter);
        tracing::warn!(
            refused,
            field,
            dead_letter,
            "entries of the stream were refused; they are in the other stream, with the reason"
        );
        Ok(())
    }

    fn count(&self, result: &'static str, entries: usize) {
        let monitor = self.engine.monitor();
        monitor.count(&metrics::STREAM_ENTRIES, [result], entries as u64);
        if result != "lost" {
            monitor.count(&metrics::INGESTED, ["event", result], entries as u64);
        }
    }
}

/// Longer with each failure, and never the same for two servers.
fn backoff(failures: u32) -> Duration {
    let longest = BACKOFF.saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF);
    // A hasher that is made anew is keyed at random.
    let random = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    longest.mul_f64(0.5 + random / 2.0)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "tastemaker".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_not_all_alike() {
        for (failures, longest) in [(0, 100), (1, 200), (3, 800), (40, 5_000)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<Duration> = (0..20).map(|_| backoff(failures)).collect();
            assert!(pauses.iter().all(|pause| *pause >= longest / 2 && *pause <= longest), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }

    #[test]
    fn a_redis_of_its_own_is_not_sent_the_password_of_the_other() {
        let config = Config::parse(
            "[storage]\nonline = \"redis://a:1\"\n[redis]\nusername = \"me\"\npassword = \"secret\"\n[events.source]\nredis_stream = \"s\"\nurl = \"redis://b:2\"\n",
        );
        let source = Source::of(&config.unwrap()).unwrap();
        assert_eq!((source.url.as_str(), source.redis.username, source.redis.password), ("redis://b:2", None, None));
        assert_eq!(source.dead_letter, "s:refused");
        assert!(!source.stream.consumer.is_empty());
    }
}
