//! Which generation serves, and the removal of one that does no longer.

use std::time::Instant;

use redis::Pipeline;

use super::{Progress, Publisher, Step};
use crate::RedisError;
use crate::client::Operation;
use crate::layout::{embedding_field, meta};
use crate::pace::Pace;

const META: Operation = Operation::repeatable("publish_meta").bulk();
const CLEANUP: Operation = Operation::repeatable("cleanup").bulk();

impl Publisher {
    /// Has searches go to this generation from now on. The one before stays as it is; to flip back is to do this for that one.
    ///
    /// # Errors
    /// [`RedisError::NoIndex`] if it was not loaded.
    pub async fn flip(&self) -> Result<(), RedisError> {
        self.client.point_alias(&self.publication.generation).await?;
        let key = self.client.layout().meta();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSET").arg(&key).arg(meta::GENERATION).arg(&self.publication.generation);
        pipeline.cmd("HDEL").arg(&key).arg(self.cursor(Step::Items)).arg(self.cursor(Step::Users));
        for answer in self.client.pipeline(META, &pipeline).await? {
            answer?;
        }
        Ok(())
    }

    /// Removes this generation's index and its vectors from the items `ids`. Half of the time is left to those who serve.
    ///
    /// # Errors
    /// [`RedisError::Settings`] if it is the one that serves.
    pub async fn remove<S: AsRef<str>>(
        &self,
        ids: impl IntoIterator<Item = S>,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), RedisError> {
        let generation = &self.publication.generation;
        if self.client.serving_generation().await?.as_deref() == Some(generation) {
            return Err(RedisError::Settings(format!("generation {generation} serves; flip to another first")));
        }
        self.client.drop_index(generation).await?;
        let (field, mut ids, mut done) = (embedding_field(generation), ids.into_iter(), 0);
        let pace = Pace::new(self.client.config().pipeline);
        loop {
            let mut pipeline = Pipeline::with_capacity(pace.size());
            for id in ids.by_ref().take(pace.size()) {
                pipeline.cmd("HDEL").arg(self.client.layout().item(id.as_ref())).arg(&field);
            }
            if pipeline.is_empty() {
                break;
            }
            let began = Instant::now();
            for answer in self.client.pipeline(CLEANUP, &pipeline).await? {
                answer?;
            }
            done += pipeline.len() as u64;
            progress(Progress { step: Step::Cleanup, done });
            pace.rest(began.elapsed()).await;
        }
        let key = self.client.layout().meta();
        let mut forget = redis::cmd("HDEL");
        forget.arg(key).arg(self.cursor(Step::Items)).arg(self.cursor(Step::Users));
        self.client.call(META, &forget).await.map(|_| ())
    }
}
