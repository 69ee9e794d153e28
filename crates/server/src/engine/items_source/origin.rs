//! The database with its queries measured.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tastemaker_monitor::{Monitor, catalogue as metrics};
use tastemaker_source::{Known, Origin, Postgres, SourceError};

/// Reads by id, timed and counted.
pub(super) struct Measured {
    postgres: Arc<Postgres>,
    monitor: Arc<Monitor>,
}

impl Measured {
    pub(super) fn new(postgres: Arc<Postgres>, monitor: Arc<Monitor>) -> Self {
        Self { postgres, monitor }
    }
}

#[async_trait]
impl Origin for Measured {
    async fn fetch(&self, ids: &[String]) -> Result<Vec<Known>, SourceError> {
        measure(&self.monitor, "fetch", self.postgres.fetch(ids)).await
    }
}

/// Times a query of this name, and counts it if it fails.
pub(super) async fn measure<T>(
    monitor: &Monitor,
    query: &'static str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let began = Instant::now();
    let outcome = work.await;
    monitor.observe(&metrics::ITEMS_SOURCE_SECONDS, [query], began.elapsed());
    if outcome.is_err() {
        monitor.count(&metrics::ITEMS_SOURCE_ERRORS, [query], 1);
    }
    outcome
}
