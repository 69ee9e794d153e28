//! The vectors and the index.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures::StreamExt;
use redis::{Pipeline, Value};
use tastemaker_types::Position;

use super::{Exact, Loaded, Progress, Publisher, Step};
use crate::RedisError;
use crate::client::{Operation, Script};
use crate::layout::{EMBEDDING, embedding_field};
use crate::pace::Pace;
use crate::reply::{count, list};

const LOAD: Operation = Operation::repeatable("publish").bulk();
const CURSOR: Operation = Operation::repeatable("publish_cursor").bulk();
/// Between two looks at how far an index is, at least.
const LOOK: Duration = Duration::from_millis(50);

/// Sets a field where there is an entity: a hash of ours that is no marker of a deletion, and that was not changed after a position. KEYS: hashes;
/// ARGV: the field, the position, then a value for each.
static VECTORS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local written = {}
for i = 1, #KEYS do
  local known = redis.call('HMGET', KEYS[i], ':version', ':deleted')
  if known[1] and not known[2] and tonumber(known[1]) <= tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[i + 2])
    written[i] = 1
  else
    written[i] = 0
  end
end
return written
",
    )
});

/// Whatever the position. (The largest number that a script takes as it is.)
const ANY: u64 = 1 << 53;

/// Pipelines under way at once: one is executed while the next is on its way.
const PIPELINES: usize = 2;

impl Publisher {
    /// Gives each item its vector, where the item is there. `factors` must come in the same order when a load is taken up again. All of them, also
    /// those that an earlier attempt had done, are shown to `exact`.
    ///
    /// # Errors
    /// [`RedisError`]; what has been done is kept, and the next load goes on from there.
    pub async fn load_items<S: AsRef<str>, V: AsRef<[f32]>>(
        &self,
        factors: impl IntoIterator<Item = (S, V)>,
        exact: &mut Exact,
        progress: impl FnMut(Progress),
    ) -> Result<Loaded, RedisError> {
        let field = embedding_field(&self.publication.generation);
        let (format, max_norm) = (self.format(), self.publication.max_norm);
        let encoded = factors.into_iter().map(|(id, factor)| {
            exact.see(id.as_ref(), factor.as_ref());
            (self.client.layout().item(id.as_ref()), format.item(factor.as_ref(), max_norm))
        });
        self.load(Step::Items, &field, ANY, encoded, progress).await
    }

    /// Gives each user their vector, where the user is there and, where `through` is given, was not changed after it. As [`Publisher::load_items`].
    ///
    /// # Errors
    /// [`RedisError`]; what has been done is kept, and the next load goes on from there.
    pub async fn load_users<S: AsRef<str>, V: AsRef<[f32]>>(
        &self,
        vectors: impl IntoIterator<Item = (S, V)>,
        through: Option<Position>,
        progress: impl FnMut(Progress),
    ) -> Result<Loaded, RedisError> {
        let format = self.format();
        let encoded = vectors
            .into_iter()
            .map(|(id, vector)| (self.client.layout().user(id.as_ref()), format.query(vector.as_ref())));
        self.load(Step::Users, EMBEDDING, through.map_or(ANY, |position| position.0), encoded, progress).await
    }

    async fn load(
        &self,
        step: Step,
        field: &str,
        through: u64,
        encoded: impl Iterator<Item = (String, Vec<u8>)>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Loaded, RedisError> {
        let resumed = self.done(step).await?;
        let mut encoded = encoded;
        let mut skipped = 0;
        while skipped < resumed && encoded.next().is_some() {
            skipped += 1;
        }
        let mut loaded = Loaded { resumed: skipped, ..Loaded::default() };
        let keys = self.client.keys_in_a_run();
        let most = self.client.config().pipeline.max(keys);
        // Another generation's index takes up what is written beside it.
        let held = step == Step::Items && self.client.has_own_index().await?;
        let pace = held.then(|| Pace::new(most));
        let batches = std::iter::from_fn(|| {
            let batch: Vec<_> = encoded.by_ref().take(pace.as_ref().map_or(most, Pace::size)).collect();
            (!batch.is_empty()).then_some(batch)
        });
        let sends = batches.map(|batch| async {
            let began = Instant::now();
            let sent = self.send(field, through, batch, keys).await;
            if let Some(pace) = &pace {
                pace.rest(began.elapsed()).await;
            }
            sent
        });
        let mut sent = futures::stream::iter(sends).buffered(if held { 1 } else { PIPELINES });
        while let Some(result) = sent.next().await {
            let (written, absent) = result?;
            loaded.written += written;
            loaded.absent += absent;
            let done = loaded.resumed + loaded.written + loaded.absent;
            self.set_done(step, done).await?;
            progress(Progress { step, done });
        }
        Ok(loaded)
    }

    async fn send(
        &self,
        field: &str,
        through: u64,
        batch: Vec<(String, Vec<u8>)>,
        keys: usize,
    ) -> Result<(u64, u64), RedisError> {
        let mut runs = Pipeline::with_capacity(batch.len().div_ceil(keys));
        for part in batch.chunks(keys) {
            let mut run = VECTORS.run_on(part.iter().map(|(key, _)| key.as_str()));
            run.arg(field).arg(through);
            for (_, vector) in part {
                run.arg(vector.as_slice());
            }
            runs.add_command(run);
        }
        let (mut written, mut absent) = (0, 0);
        for answer in self.client.scripts(LOAD, &VECTORS, &runs).await? {
            let answer = answer?;
            let unreadable = RedisError::answer(LOAD.name(), "a list of 0 and 1", &answer);
            for one in list(answer).ok_or(unreadable)? {
                if one == Value::Int(1) { written += 1 } else { absent += 1 }
            }
        }
        Ok((written, absent))
    }

    /// Makes the index and waits until it has read every hash. Hashes that change meanwhile are in it as well.
    ///
    /// # Errors
    /// [`RedisError`], and if hashes cannot be indexed.
    pub async fn build_index(&self, mut progress: impl FnMut(Progress)) -> Result<(), RedisError> {
        self.client.create_index(&self.schema()).await?;
        let name = self.client.layout().index(&self.publication.generation);
        loop {
            let asked = Instant::now();
            let info = self.client.index_info(&name).await?;
            progress(Progress { step: Step::Index, done: (info.indexed * 1_000.0) as u64 });
            if !info.indexing && info.indexed >= 1.0 {
                return if info.failures == 0 {
                    Ok(())
                } else {
                    let (failures, why) = (info.failures, info.last_failure);
                    let keys = self.client.layout().item_prefix();
                    Err(RedisError::Verification(format!(
                        "{failures} items could not be indexed, the last for: {why}; if a hash under {keys} is not this project's, delete it or set another redis.prefix"
                    )))
                };
            }
            // Redis answers this out of the time that it indexes in.
            tokio::time::sleep((asked.elapsed() * 50).clamp(LOOK, LOOK * 20)).await;
        }
    }

    async fn done(&self, step: Step) -> Result<u64, RedisError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.client.layout().meta()).arg(self.cursor(step));
        Ok(count(&self.client.call(CURSOR, &get).await?).unwrap_or(0))
    }

    async fn set_done(&self, step: Step, done: u64) -> Result<(), RedisError> {
        let mut set = redis::cmd("HSET");
        set.arg(self.client.layout().meta()).arg(self.cursor(step)).arg(done);
        self.client.call(CURSOR, &set).await.map(|_| ())
    }
}
