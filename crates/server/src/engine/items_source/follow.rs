//! Following the feed of changes: round after round, each page written before the watermark moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tastemaker_source::Feed;

use super::ItemsSource;
use super::backoff::Backoff;
use super::differences::Cause;
use super::origin::measure;
use super::watermark::WatermarkFile;
use crate::{Engine, EngineError};

/// Notices that come together are one reason to look.
const GATHER: Duration = Duration::from_millis(50);

/// Follows until it is aborted. Who waits for the database is nobody but this task.
pub(super) async fn follow(engine: Arc<Engine>, source: Arc<ItemsSource>) {
    let settings = &engine.config.items.source;
    let file = WatermarkFile::of(&engine.config);
    let mut feed = Feed::new(file.read(), settings.overlap);
    let (mut backoff, mut told) = (Backoff::new(), None);
    loop {
        let began = Instant::now();
        let pause = match round(&engine, &source, &mut feed, &file).await {
            Ok(()) => {
                *source.current_at.lock() = began;
                if told.take().is_some() {
                    tracing::info!("items follow their database again");
                }
                backoff = Backoff::new();
                settings.poll_interval.to_duration()
            }
            Err(error) => {
                let pause = backoff.pause();
                // Told once for as long as it is the same trouble.
                let trouble = Trouble::of(&error);
                if told != Some(trouble) {
                    tracing::warn!(
                        "items do not follow their database: {error}; recommendations go on with the items as they are"
                    );
                    told = Some(trouble);
                }
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = source.look.notified() => tokio::time::sleep(GATHER).await,
        }
    }
}

/// What kind of thing went wrong. A database that is away says so in many words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Away,
    Misfit,
    Log,
}

impl Trouble {
    fn of(error: &EngineError) -> Self {
        match error {
            EngineError::ItemsSource(error) if error.is_outage() => Self::Away,
            EngineError::ItemsSource(_) => Self::Misfit,
            _ => Self::Log,
        }
    }
}

/// Reads all that changed since the last round.
async fn round(
    engine: &Engine,
    source: &ItemsSource,
    feed: &mut Feed,
    file: &WatermarkFile,
) -> Result<(), EngineError> {
    let batch = engine.config.items.source.batch.max(1);
    let mut next = Some(feed.begin());
    while let Some(cursor) = next {
        let page = measure(&engine.monitor, "changes", source.postgres.changes(&cursor, batch)).await?;
        for (id, _) in &page.rows {
            source.tier.forget(id);
        }
        engine.adopt(source, &page.rows, Cause::Feed).await?;
        let before = feed.watermark();
        next = feed.advance(&page);
        if let Some(watermark) = feed.watermark().filter(|at| before != Some(*at)) {
            let file = file.clone();
            let written = tokio::task::spawn_blocking(move || file.write(watermark)).await;
            written
                .map_err(|error| EngineError::setup("note how far items follow their database", &error))?
                .map_err(|error| EngineError::setup("note how far items follow their database", &error))?;
        }
    }
    Ok(())
}
