//! Items that somebody names and the catalog lacks, read by their ids.

use std::collections::HashSet;
use std::sync::Arc;

use tastemaker_monitor::catalogue as metrics;
use tastemaker_source::SourceError;
use tastemaker_types::{Record, validate_id};
use tokio::sync::mpsc;

use super::differences::{Cause, describes};
use crate::{Engine, EngineError};

impl Engine {
    /// Brings those of the items in that the catalog lacks and the items' database has, and waits no longer than `items.source.timeout`.
    /// Without a database there is nothing to do.
    ///
    /// # Errors
    /// The database could not be asked, or the log takes no writes.
    pub(crate) async fn bring_in(&self, ids: &[String]) -> Result<(), EngineError> {
        let Some(source) = self.items_source.get() else { return Ok(()) };
        let lacking = self.lacking(ids.iter().map(String::as_str));
        if lacking.is_empty() {
            return Ok(());
        }
        let settings = &self.config.items.source;
        let reading = async {
            // What has been read counts, also if the rest is not read in time.
            for ids in lacking.chunks(settings.batch.max(1)) {
                let read = source.get(ids).await?;
                self.adopt(source, &read, Cause::Lacking).await?;
            }
            Ok::<(), EngineError>(())
        };
        let outcome = tokio::time::timeout(settings.timeout.to_duration(), reading).await;
        outcome.unwrap_or_else(|_| Err(SourceError::Timeout(settings.timeout).into())).inspect_err(|error| {
            tracing::debug!("items that the catalog lacks were not read: {error}");
        })
    }

    /// Has the items of events read that the catalog lacks, without waiting for it.
    pub(in crate::engine) fn want_items_of(&self, records: &[Record]) {
        let Some(source) = self.items_source.get() else { return };
        let items = records.iter().filter_map(|record| match record {
            Record::Event(event) => Some(event.item_id.as_str()),
            _ => None,
        });
        for id in self.lacking(items) {
            // If more than enough wait already, it is read when it is met again.
            let _ = source.wanted.try_send(id);
        }
    }

    /// The ids, each once, that the catalog does not know, or not with any attribute.
    fn lacking<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
        let catalog = self.catalog.snapshot();
        let ids: HashSet<&str> = ids.filter(|id| validate_id("id", id).is_ok()).collect();
        let asked = ids.len();
        let lacking: Vec<String> = ids.into_iter().filter(|id| !describes(&catalog, id)).map(str::to_owned).collect();
        for (result, number) in [("hit", asked - lacking.len()), ("miss", lacking.len())] {
            self.monitor.count(&metrics::CACHE_LOOKUPS, ["catalog", result], number as u64);
        }
        lacking
    }
}

/// Reads the items that events name, many at a time.
pub(super) async fn read_wanted(engine: Arc<Engine>, mut wanted: mpsc::Receiver<String>) {
    let batch = engine.config.items.source.batch.max(1);
    let mut ids = Vec::new();
    while wanted.recv_many(&mut ids, batch).await > 0 {
        // A failure is counted and told where it happens; the feed brings these items as well.
        let _ = engine.bring_in(&ids).await;
        ids.clear();
    }
}
