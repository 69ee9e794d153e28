//! Keeping the champion published: a promotion or a rollback is followed by a publication, and what served before is removed when its time is over.

use std::sync::Arc;
use std::time::Duration;

use crate::RemoteError;
use crate::follow::Follower;
use crate::meta::Meta;
use crate::publish::{publish, retire, unpublish};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure.
const BACK_OFF: Duration = Duration::from_secs(2);

impl Follower {
    /// Publishes each new champion, until it is dropped.
    pub async fn run_publisher(self: Arc<Self>) {
        let mut told = None;
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.keep_published().await {
                Ok(()) => told = None,
                Err(RemoteError::NoGeneration) => {}
                // A Redis that is away is told of by whoever follows.
                Err(RemoteError::Redis(error)) if error.is_transient() => {}
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the champion is not published to Redis; the generation before keeps serving there");
                    }
                    told = Some(error);
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    async fn keep_published(&self) -> Result<(), RemoteError> {
        if !self.whole() {
            return Ok(());
        }
        let champion = self.models().champion()?;
        let serving = Meta::read(self.client()).await?.generation;
        if serving == Some(champion) && !self.client().has_index(&champion.to_string()).await? {
            tracing::warn!(
                version = champion,
                "the index of the generation that serves is gone from Redis; publishing it again"
            );
            // Nobody asks an index that is only being filled; it is, when everyone has seen this.
            return unpublish(self.client(), champion).await;
        }
        if serving != Some(champion) {
            let published = publish(self, champion, |_| ()).await?;
            let (items, recall) = (published.items.map_or(0, |items| items.written), published.index.map(|i| i.recall));
            tracing::info!(version = champion, items, recall, "a generation serves from Redis");
        }
        for version in retire(self).await? {
            tracing::info!(version, "a generation was removed from Redis");
        }
        Ok(())
    }
}
