//! Items whose system of record is the user's PostgreSQL, brought into the event log: what a request or an event lacks is read by its id
//! (`lacking`), what changes is followed (`follow`, `listen`). Both write what differs from the catalog, and nothing else; answers are made
//! from the catalog alone. How the database is read is the business of `tastemaker_source`.

mod backoff;
mod calls;
mod differences;
mod follow;
mod lacking;
mod listen;
mod origin;
mod watermark;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tastemaker_config::Config;
use tastemaker_monitor::catalogue as metrics;
use tastemaker_source::{Known, Postgres, ReadThrough, SourceError, TierOptions, TierStats};
use tastemaker_types::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::Engine;
use crate::EngineError;
use differences::{Cause, Refusal};
use origin::Measured;

/// Checks the settings without connecting.
pub(crate) fn check(config: &Config) -> Result<(), EngineError> {
    match config.items.source.postgres {
        Some(_) => Ok(Postgres::check(&config.items)?),
        None => Ok(()),
    }
}

/// Ids of events that may wait to be read. What does not fit is read when it is met again, or comes with the feed.
const WANTED: usize = 10_000;

/// The database and what stands between it and us.
pub(super) struct ItemsSource {
    postgres: Arc<Postgres>,
    tier: ReadThrough<Measured>,
    wanted: mpsc::Sender<String>,
    /// Asks the follower to look now.
    look: Notify,
    /// Held from a comparison with the catalog until its outcome is written, so that the many who wait for one row write it once.
    adopting: tokio::sync::Mutex<()>,
    /// When the last whole round of the feed began; the start, if there was none.
    current_at: Mutex<Instant>,
    /// The last refusal that was told.
    refusal: Mutex<Option<Refusal>>,
}

impl Engine {
    /// Starts to follow the items' database if the project has one. The tasks run until they are aborted. Needs a runtime.
    pub(super) fn start_items_source(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, EngineError> {
        let settings = &self.config.items.source;
        // Without a log there is nowhere to write what is read.
        if settings.postgres.is_none() || self.is_stateless() {
            return Ok(Vec::new());
        }
        let postgres = Arc::new(Postgres::new(&self.config.items)?);
        let origin = Measured::new(Arc::clone(&postgres), Arc::clone(&self.monitor));
        let (wanted, ids) = mpsc::channel(WANTED);
        let source = Arc::new(ItemsSource {
            postgres,
            tier: ReadThrough::new(origin, TierOptions::from(settings)),
            wanted,
            look: Notify::new(),
            adopting: tokio::sync::Mutex::new(()),
            current_at: Mutex::new(Instant::now()),
            refusal: Mutex::new(None),
        });
        if self.items_source.set(Arc::clone(&source)).is_err() {
            return Ok(Vec::new());
        }
        // So that an increase is seen from the first failure on.
        for query in ["fetch", "changes", "listen"] {
            self.monitor.count_to(&metrics::ITEMS_SOURCE_ERRORS, [query], 0);
        }
        let mut tasks = vec![
            tokio::spawn(follow::follow(Arc::clone(self), Arc::clone(&source))),
            tokio::spawn(lacking::read_wanted(Arc::clone(self), ids)),
        ];
        if let Some(channel) = settings.notify_channel.clone() {
            tasks.push(tokio::spawn(listen::listen(Arc::clone(self), source, channel)));
        }
        Ok(tasks)
    }

    /// Writes what the catalog does not have as the database has it.
    async fn adopt(&self, source: &ItemsSource, read: &[(String, Known)], cause: Cause) -> Result<(), EngineError> {
        let _adopting = source.adopting.lock().await;
        let found = differences::differences(&self.catalog.snapshot(), read, cause, Timestamp::now());
        source.tell(found.refusal);
        let count = |result, number: usize| self.monitor.count(&metrics::ITEMS_SOURCE_ROWS, [result], number as u64);
        count("refused", found.refused);
        for call in calls::calls(found.records, self.config.server.batch_limit) {
            let deleted = call.iter().filter(|record| differences::is_deletion(record)).count();
            let upserted = call.len() - deleted;
            self.write(call).await?;
            count("upserted", upserted);
            count("deleted", deleted);
        }
        Ok(())
    }

    /// Figures that are read when someone looks.
    pub(super) fn measure_items_source(&self) {
        let Some(source) = self.items_source.get() else { return };
        let TierStats { hits, negative_hits, misses, .. } = source.tier.stats();
        for (result, total) in [("hit", hits), ("negative_hit", negative_hits), ("miss", misses)] {
            self.monitor.count_to(&metrics::CACHE_LOOKUPS, ["item_source", result], total);
        }
        let lag = source.current_at.lock().elapsed();
        self.monitor.set(&metrics::ITEMS_SOURCE_LAG_SECONDS, [], lag.as_secs_f64());
    }
}

impl ItemsSource {
    /// Logs a row that cannot be an item, once for as long as it is the same that comes first.
    fn tell(&self, refusal: Option<Refusal>) {
        let Some(refusal) = refusal else { return };
        let mut told = self.refusal.lock();
        if told.as_ref() != Some(&refusal) {
            tracing::warn!(item = %refusal.id, "a row of the items' database is not taken: {}", refusal.reason);
            *told = Some(refusal);
        }
    }

    /// The ids' rows as they are remembered or read now.
    async fn get(&self, ids: &[String]) -> Result<Vec<(String, Known)>, SourceError> {
        Ok(ids.iter().cloned().zip(self.tier.get(ids).await?).collect())
    }
}
