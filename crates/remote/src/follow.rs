//! Following the log into Redis: what records touched is noted as they are applied, and written a moment later as it then is. Redis may be slow or
//! gone: what is noted waits, each user and item once however often it changes, and is written when Redis is back. A write carries the position of
//! the log that it includes, and Redis takes none that is older than what it has, so retries and several writers do no harm.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tastemaker_config::RedisConfig;
use tastemaker_features::OnlineState;
use tastemaker_redis::layout::meta;
use tastemaker_redis::{Client, HashWrite, Operation, Pipeline, RedisError, Script};
use tastemaker_store::Catalog;
use tastemaker_types::{Position, Record, Timestamp};

use crate::RemoteError;
use crate::meta::{Meta, RANKINGS_AT};
use crate::model::{Models, PublishedModel};
use crate::writes::Writes;

const WRITE: Operation = Operation::repeatable("follow").bulk();
const META: Operation = Operation::repeatable("meta");

/// Between two looks at what was noted.
const PAUSE: Duration = Duration::from_millis(5);
/// After a failure.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Between two writes of rankings, and two looks at which generation is published.
const RANKINGS_EVERY: Duration = Duration::from_secs(1);

/// KEYS: meta; ARGV: names and values. Sets them where everything was written before, so that a Redis that lost its data does not look whole.
static ADVANCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HEXISTS', KEYS[1], 'project') == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
",
    )
});

/// What waits to be written.
#[derive(Debug, Default)]
struct Pending {
    users: HashSet<Box<str>>,
    items: HashSet<Box<str>>,
}

impl Pending {
    fn len(&self) -> usize {
        self.users.len() + self.items.len()
    }

    fn put_back(&mut self, other: Self) {
        self.users.extend(other.users);
        self.items.extend(other.items);
    }
}

/// How far Redis is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Users and items that wait to be written.
    pub pending: usize,
    /// One past the last record that Redis has; 0: none.
    pub written: u64,
    /// Whether Redis had everything when it was last asked.
    pub whole: bool,
}

/// Keeps Redis up to date.
pub struct Follower {
    client: Client,
    project: String,
    writes: Writes,
    models: Models,
    /// The one that serves first, then one that is being published.
    serving: ArcSwap<Vec<Arc<PublishedModel>>>,
    pending: Mutex<Pending>,
    /// Rows of items that Redis has.
    known: Mutex<Vec<bool>>,
    written: AtomicU64,
    whole: AtomicBool,
}

impl Follower {
    /// Of the state of a server that has the log.
    pub fn new(
        client: Client,
        project: &str,
        config: &RedisConfig,
        catalog: Arc<Catalog>,
        state: Arc<OnlineState>,
        models: Models,
    ) -> Self {
        Self {
            writes: Writes::new(client.layout().clone(), config.clone(), catalog, state),
            client,
            project: project.to_owned(),
            models,
            serving: ArcSwap::default(),
            pending: Mutex::default(),
            known: Mutex::default(),
            written: AtomicU64::new(0),
            whole: AtomicBool::new(false),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Notes what records touched, after they were applied to the state.
    pub fn note(&self, records: &[(Position, Record)]) {
        let catalog = self.writes.catalog().snapshot();
        let (mut pending, mut known) = (self.pending.lock(), self.known.lock());
        let Pending { users, items } = &mut *pending;
        let mut user = |id: &str| {
            if !users.contains(id) {
                users.insert(id.into());
            }
        };
        let mut met = |id: &str| {
            // The item is new to Redis, or its row is not known to be there.
            let row = catalog.row(id).map(|row| row as usize);
            if row.is_none_or(|row| !known.get(row).copied().unwrap_or(false)) {
                items.insert(id.into());
                if let Some(row) = row {
                    if known.len() <= row {
                        known.resize(row + 1, false);
                    }
                    if let Some(known) = known.get_mut(row) {
                        *known = true;
                    }
                }
            }
        };
        for (_, record) in records {
            match record {
                Record::Event(event) => {
                    user(&event.user_id);
                    met(&event.item_id);
                }
                Record::FeatureRow(row) => {
                    row.user_id.as_deref().map(&mut user);
                    row.item_id.as_deref().map(&mut met);
                }
                Record::UserUpsert(upsert) => user(&upsert.id),
                Record::UserDelete { id, .. } => user(id),
                Record::ItemUpsert(upsert) => {
                    met(&upsert.id);
                }
                Record::ItemDelete { id, .. } => met(id),
                Record::Served(_) => {}
            }
        }
        for (_, record) in records {
            match record {
                Record::ItemUpsert(upsert) => items.insert(upsert.id.as_str().into()),
                Record::ItemDelete { id, .. } => items.insert(id.as_str().into()),
                _ => false,
            };
        }
    }

    /// Notes every user and item, as after a loss of Redis's data.
    pub fn note_all(&self) {
        let catalog = self.writes.catalog().snapshot();
        let users = self.writes.state().user_ids_after(None, usize::MAX >> 1);
        let mut pending = self.pending.lock();
        pending.users.extend(users.into_iter().map(String::into_boxed_str));
        let alive = (0..catalog.len() as u32).filter(|row| catalog.alive(*row));
        pending.items.extend(alive.filter_map(|row| Some(catalog.id(row)?.to_string().into_boxed_str())));
    }

    /// How far Redis is behind.
    pub fn lag(&self) -> Lag {
        Lag {
            pending: self.pending.lock().len(),
            written: self.written.load(Ordering::Acquire),
            whole: self.whole.load(Ordering::Acquire),
        }
    }

    /// Writes what was noted until now. What could not be written stays noted.
    ///
    /// # Errors
    /// The first failure.
    pub async fn flush(&self, progress: impl Fn(usize)) -> Result<usize, RedisError> {
        let mut taken = std::mem::take(&mut *self.pending.lock());
        // What is read from the state below includes at least what was applied by now.
        let through = self.writes.state().position();
        let Some(position) = through else { return Ok(0) };
        let batch = self.client.config().pipeline.max(1);
        let mut done = 0;
        let result = loop {
            let items: Vec<Box<str>> = taken.items.iter().take(batch).cloned().collect();
            let users: Vec<Box<str>> = taken.users.iter().take(batch - items.len()).cloned().collect();
            if items.is_empty() && users.is_empty() {
                break Ok(done);
            }
            let writes = {
                let models = self.serving.load();
                let items = items.iter().map(|id| self.writes.item(id, position, &models));
                let model = models.first().map(|model| &**model);
                let users = users.iter().map(|id| self.writes.user(id, position, model));
                items.chain(users).collect::<Vec<HashWrite>>()
            };
            if let Err(error) = self.client.write_hashes(WRITE, &writes).await {
                break Err(error);
            }
            done += writes.len();
            items.iter().for_each(|id| drop(taken.items.remove(id)));
            users.iter().for_each(|id| drop(taken.users.remove(id)));
            progress(done);
        };
        match result {
            Ok(done) => {
                self.written.fetch_max(position.0 + 1, Ordering::AcqRel);
                Ok(done)
            }
            Err(error) => {
                self.pending.lock().put_back(taken);
                Err(error)
            }
        }
    }

    /// Follows until it is dropped. A Redis that has nothing is given everything.
    pub async fn run(self: Arc<Self>) {
        let mut ticked: Option<Instant> = None;
        let mut failing = false;
        loop {
            let due = ticked.is_none_or(|at| at.elapsed() >= RANKINGS_EVERY);
            let result = self.step(due).await;
            if due {
                ticked = Some(Instant::now());
            }
            match result {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!(server = self.client.server(), "Redis takes writes again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        failing = true;
                        tracing::warn!(server = self.client.server(), %error, "Redis is not written; what changes waits");
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn step(&self, due: bool) -> Result<(), RemoteError> {
        if due {
            self.look().await?;
        }
        self.flush(|_| ()).await?;
        if due {
            let was_whole = self.whole.load(Ordering::Acquire);
            self.advance().await?;
            if !was_whole && self.serving.load().is_empty() {
                match crate::publish(self, self.models.champion()?, |_| ()).await {
                    Err(RemoteError::Artifact(error)) => tracing::warn!(%error, "no generation was published"),
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    /// Looks at what Redis says of itself: whether it is whole, and which generations its items need vectors of.
    pub(crate) async fn look(&self) -> Result<(), RemoteError> {
        let meta = Meta::read(&self.client).await?;
        let named = meta.generation.into_iter().chain(meta.publishing);
        let mut models = Vec::new();
        for version in named {
            models.push(self.model(version)?);
        }
        self.serving.store(Arc::new(models));
        if meta.whole {
            self.whole.store(true, Ordering::Release);
        } else {
            if self.whole.swap(false, Ordering::AcqRel) {
                tracing::warn!(server = self.client.server(), "Redis lost its data; writing everything anew");
            }
            self.note_all();
        }
        Ok(())
    }

    /// A model that is known already, or loaded now.
    pub(crate) fn model(&self, version: u64) -> Result<Arc<PublishedModel>, RemoteError> {
        let of_version = |model: &&Arc<PublishedModel>| model.model().manifest().version.0 == version;
        match self.serving.load().iter().find(of_version) {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::new(self.models.load(version)?)),
        }
    }

    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// Writes the rankings and how far Redis is, and, once everything is there, that it is whole.
    pub(crate) async fn advance(&self) -> Result<(), RemoteError> {
        let (now, layout) = (Timestamp::now(), self.client.layout());
        let rankings = self.writes.state().export_rankings(now);
        let written = self.written.load(Ordering::Acquire).saturating_sub(1);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SET").arg(layout.rankings()).arg(rankings);
        if !self.whole.load(Ordering::Acquire) && self.pending.lock().len() == 0 {
            pipeline.cmd("HSETNX").arg(layout.meta()).arg(meta::PROJECT).arg(&self.project);
        }
        for answer in self.client.pipeline(WRITE, &pipeline).await? {
            answer?;
        }
        let mut advance = ADVANCE.run(layout.meta());
        advance.arg(meta::LOG_POSITION).arg(written).arg(RANKINGS_AT).arg(now.as_micros());
        let mut pipeline = Pipeline::new();
        pipeline.add_command(advance);
        for answer in self.client.scripts(META, &ADVANCE, &pipeline).await? {
            answer?;
        }
        Ok(())
    }
}
