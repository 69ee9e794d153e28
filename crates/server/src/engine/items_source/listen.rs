//! Being told of changes: an item that is named is read at once; a bare notice has the feed looked at.

use std::sync::Arc;
use std::time::Duration;

use tastemaker_monitor::catalogue as metrics;
use tastemaker_source::{Listener, Notice, Origin as _};
use tastemaker_types::validate_id;
use tokio::time::{Instant, timeout_at};

use super::ItemsSource;
use super::backoff::Backoff;
use super::differences::Cause;
use crate::{Engine, EngineError};

/// How long the first notice waits for others.
const GATHER: Duration = Duration::from_millis(20);
/// Ids that may wait for a database that is away. Beyond them, the feed tells.
const MOST: usize = 10_000;

/// Listens until it is aborted.
pub(super) async fn listen(engine: Arc<Engine>, source: Arc<ItemsSource>, channel: String) {
    let mut changed = Vec::new();
    let mut backoff = Backoff::new();
    loop {
        match source.postgres.listen(&channel).await {
            Ok(mut listener) => {
                backoff = Backoff::new();
                // Nobody was told of what happened before.
                source.look.notify_one();
                if let Err(error) = hear(&engine, &source, &mut listener, &mut changed).await {
                    tracing::debug!("not told of changed items for now: {error}");
                }
            }
            // Told by who follows the feed, which fails as well.
            Err(error) => tracing::debug!("cannot listen for changed items: {error}"),
        }
        engine.monitor.count(&metrics::ITEMS_SOURCE_ERRORS, ["listen"], 1);
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Until the connection is lost, or what is `changed` cannot be read.
async fn hear(
    engine: &Engine,
    source: &ItemsSource,
    listener: &mut Listener,
    changed: &mut Vec<String>,
) -> Result<(), EngineError> {
    loop {
        read_again(engine, source, changed).await?;
        let mut notice = listener.next().await;
        let until = Instant::now() + GATHER;
        loop {
            match notice? {
                Notice::Item(id) if changed.len() < MOST && validate_id("id", &id).is_ok() => changed.push(id),
                Notice::Item(_) | Notice::Anything => source.look.notify_one(),
                Notice::Lost => return Ok(()),
            }
            match timeout_at(until, listener.next()).await {
                Ok(next) => notice = next,
                Err(_) => break,
            }
        }
    }
}

/// Reads the items as they are now, and leaves those that could not be read.
async fn read_again(engine: &Engine, source: &ItemsSource, changed: &mut Vec<String>) -> Result<(), EngineError> {
    changed.sort_unstable();
    changed.dedup();
    let batch = engine.config.items.source.batch.max(1);
    while !changed.is_empty() {
        let ids = &changed[changed.len().saturating_sub(batch)..];
        // Past the tier: a query that is under way there may be from before the change.
        ids.iter().for_each(|id| source.tier.forget(id));
        let read: Vec<_> = ids.iter().cloned().zip(source.tier.origin().fetch(ids).await?).collect();
        engine.adopt(source, &read, Cause::Notice).await?;
        changed.truncate(changed.len() - read.len());
    }
    Ok(())
}
