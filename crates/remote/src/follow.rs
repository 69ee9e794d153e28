//! Following the log into Redis: what records touched is noted as they are applied, and written a moment later as it then is. Redis may be slow or
//! gone: what is noted waits, each user and item once however often it changes, and is written when Redis is back. A write carries the position of
//! the log that it includes, and Redis takes none that is older than what it has, so retries and several writers do no harm.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tastemaker_config::{Config, Entity};
use tastemaker_features::OnlineState;
use tastemaker_log::LogReader;
use tastemaker_redis::layout::meta;
use tastemaker_redis::{
    BreakerState, Client, Cmd, HashWrite, Operation, Pace, Pipeline, RedisError, Script, Value, Written, cmd,
};
use tastemaker_store::Catalog;
use tastemaker_types::{Position, Record, Timestamp};
use tokio::sync::{Notify, watch};

use crate::RemoteError;
use crate::items::Items;
use crate::meta::{DEFINITIONS, FILLING, Meta, PUBLISHED, PUBLISHING, RETIRED, definitions};
use crate::model::{Models, PublishedModel};
use crate::pending::Pending;
use crate::writes::Writes;

const WRITE: Operation = Operation::repeatable("follow").bulk();
const META: Operation = Operation::repeatable("meta").bulk();
/// As long as a command of a request may take, whoever writes waits.
const PATIENCE: Operation = Operation::repeatable("follow");

/// With more than this to write, in users, nobody waits for it.
const BUSY: usize = 4_096;
/// Users wait no longer for items that were changed together.
const TURN: Duration = Duration::from_millis(100);
/// After a failure.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Between two looks at what Redis says of itself, and two writes of rankings.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rankings are written again after this long though they did not change: a master that took over may lack the latest ones.
const RANK_AGAIN: Duration = Duration::from_secs(30);
/// Records read at once.
const CHUNK: usize = 8_192;

/// KEYS: meta; ARGV: the moment of the rankings, a log position, or -1, and the run ids of the servers that were written to. Sets them where
/// everything was written before, and by none but these servers, so that a Redis that lost data does not look whole; the position only rises.
static ADVANCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HEXISTS', KEYS[1], 'project') == 0 then return 0 end
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not server or not string.find(ARGV[3], server, 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'rankings_at', ARGV[1], 'nodes', ARGV[3])
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], 'log_position') or '-1') then
  redis.call('HSET', KEYS[1], 'log_position', ARGV[2])
end
return 1
",
    )
});

/// KEYS: meta; ARGV: the project, the definitions, and the mark of who fills. Says that everything is there, where filling began and nothing was
/// lost since; others that fill as well need not go on.
static COMPLETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], ARGV[3]) ~= ARGV[2] then return 0 end
local fields = redis.call('HGETALL', KEYS[1])
for place = 1, #fields, 2 do
  if string.find(fields[place], '^filling') then redis.call('HDEL', KEYS[1], fields[place]) end
end
redis.call('HSET', KEYS[1], 'project', ARGV[1], 'definitions', ARGV[2])
return 1
",
    )
});

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
    definitions: Arc<str>,
    /// The field that says that this process fills Redis. Another one that does the same may have begun after a loss that this one did not see.
    mark: String,
    writes: Writes,
    models: Models,
    log: LogReader,
    /// What this process remembers of items, to be forgotten when they are written.
    items: Option<Arc<Items>>,
    /// The one that serves first, then one that is being published.
    serving: ArcSwap<Vec<Arc<PublishedModel>>>,
    pending: Mutex<Pending>,
    /// What is being written; locked after `pending`.
    taken: Mutex<Pending>,
    pace: Pace,
    /// Rows of items that were noted once. Events do not change an item's hash again, unless it has features of its own.
    met: Mutex<Vec<bool>>,
    items_have_features: bool,
    /// One at a time, so that `written` does not run ahead of an earlier one.
    flushing: tokio::sync::Mutex<()>,
    /// Something was noted.
    noted: Notify,
    /// One past the last record that Redis has.
    written: watch::Sender<u64>,
    whole: AtomicBool,
    /// Whether the records that Redis did not get before this process began were noted.
    caught_up: AtomicBool,
    /// Whether this process noted everything since Redis was last whole.
    filling: AtomicBool,
    running: AtomicBool,
    /// The rankings that Redis has.
    rankings: Mutex<Option<WrittenRankings>>,
    /// The run ids of the servers, as of the last look.
    nodes: Mutex<String>,
}

#[derive(Clone, Copy)]
struct WrittenRankings {
    fingerprint: u64,
    at: Timestamp,
    written: Instant,
}

impl Follower {
    /// Of the state of a server that has the log: `state` is what `log` says, and every record that is applied to it from now on is noted.
    pub fn new(
        client: Client,
        config: &Config,
        catalog: Arc<Catalog>,
        state: Arc<OnlineState>,
        models: Models,
        log: LogReader,
    ) -> Self {
        let set = state.features();
        let items_have_features = set.remembers(Entity::Item);
        let (through, pace) = (state.position(), Pace::new(client.config().pipeline));
        Self {
            project: config.project.name.clone(),
            definitions: definitions(config, set),
            mark: format!("{FILLING}{:016x}", rand::random::<u64>()),
            writes: Writes::new(client.layout().clone(), config.redis.clone(), catalog, state, items_have_features),
            client,
            models,
            log,
            items: None,
            serving: ArcSwap::default(),
            pending: Mutex::new(Pending { through, ..Pending::default() }),
            taken: Mutex::default(),
            pace,
            met: Mutex::default(),
            items_have_features,
            flushing: tokio::sync::Mutex::default(),
            noted: Notify::new(),
            written: watch::Sender::new(0),
            whole: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
            filling: AtomicBool::new(false),
            running: AtomicBool::new(false),
            rankings: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    /// Has these forget what is written.
    pub fn telling(self, items: Arc<Items>) -> Self {
        Self { items: Some(items), ..self }
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
        let (mut pending, mut met) = (self.pending.lock(), self.met.lock());
        pending.through = pending.through.max(records.last().map(|(position, _)| *position));
        for (_, record) in records {
            pending.note(record, |item_id| {
                let first = catalog.row(item_id).is_none_or(|row| {
                    let row = row as usize;
                    if met.len() <= row {
                        met.resize(row + 1, false);
                    }
                    met.get_mut(row).is_none_or(|met| !std::mem::replace(met, true))
                });
                first || self.items_have_features
            });
        }
        drop((pending, met));
        self.noted.notify_one();
    }

    /// Notes every user and item, as after a loss of Redis's data.
    pub fn note_all(&self) {
        let catalog = self.writes.catalog().snapshot();
        let users = self.writes.state().user_ids_after(None, usize::MAX >> 1);
        let mut pending = self.pending.lock();
        pending.users.extend(users.into_iter().map(String::into_boxed_str));
        // Deleted ones, too: Redis may still have them.
        let rows = 0..catalog.len() as u32;
        pending.items.extend(rows.filter_map(|row| Some(catalog.id(row)?.to_string().into_boxed_str())));
    }

    /// How much of what waits, and of what is being written.
    fn waiting(&self, of: impl Fn(&Pending) -> usize) -> usize {
        let pending = self.pending.lock();
        of(&pending) + of(&self.taken.lock())
    }

    /// How far Redis is behind.
    pub fn lag(&self) -> Lag {
        Lag {
            pending: self.waiting(Pending::len),
            written: *self.written.borrow(),
            whole: self.whole.load(Ordering::Acquire),
        }
    }

    /// Writes what was noted until now. What could not be written stays noted.
    ///
    /// # Errors
    /// The first failure.
    pub async fn flush(&self, progress: impl Fn(usize)) -> Result<usize, RedisError> {
        self.flush_within(Duration::MAX, progress).await
    }

    /// The same, but items that an index holds only for about as long; what is left stays noted.
    async fn flush_within(&self, time: Duration, progress: impl Fn(usize)) -> Result<usize, RedisError> {
        let _flushing = self.flushing.lock().await;
        let through = {
            let (mut pending, mut taken) = (self.pending.lock(), self.taken.lock());
            taken.take(&mut pending);
            taken.through
        };
        // What is read from the state below includes at least what was noted by now.
        let Some(position) = through else { return Ok(0) };
        let written = self.write(position, time, progress).await?;
        if self.taken.lock().len() == 0 {
            self.rise(position.0 + 1);
        }
        Ok(written)
    }

    /// Writes and takes away what was taken, a pipeline at a time, and items that an index holds a few at a time.
    async fn write(&self, position: Position, time: Duration, progress: impl Fn(usize)) -> Result<usize, RedisError> {
        let (batch, start) = (self.client.config().pipeline.max(1), Instant::now());
        let mut done = 0;
        loop {
            let models = self.serving.load_full();
            let indexed = !models.is_empty();
            let (users, items) = self.taken.lock().some(batch, if indexed { self.pace.size() } else { batch });
            if users.is_empty() && items.is_empty() {
                return Ok(done);
            }
            let model = models.first().map(|model| &**model);
            self.write_batch(users.iter().map(|id| self.writes.user(id, position, model)).collect()).await?;
            self.taken.lock().done(&users, &[]);

            let began = Instant::now();
            self.write_batch(items.iter().map(|id| self.writes.item(id, position, &models)).collect()).await?;
            let took = began.elapsed();
            items.iter().for_each(|id| self.items.iter().for_each(|known| known.forget(id)));
            let more = {
                let mut taken = self.taken.lock();
                taken.done(&[], &items);
                !taken.items.is_empty()
            };
            done += users.len() + items.len();
            progress(done);
            if indexed && more {
                self.pace.rest(took).await;
                if start.elapsed() > time {
                    self.noted.notify_one();
                    return Ok(done);
                }
            }
        }
    }

    async fn write_batch(&self, writes: Vec<HashWrite>) -> Result<(), RedisError> {
        let written = match self.client.write_hashes(WRITE, &writes).await {
            Err(RedisError::WrongType { .. }) => return self.write_one_by_one(&writes).await,
            written => written?,
        };
        for (write, _) in writes.iter().zip(written).filter(|(_, written)| *written == Written::Foreign) {
            not_ours(&write.key);
        }
        Ok(())
    }

    /// Where a key is in the way that is none of ours, the others are written all the same.
    async fn write_one_by_one(&self, writes: &[HashWrite]) -> Result<(), RedisError> {
        for write in writes {
            match self.client.write_hashes(WRITE, std::slice::from_ref(write)).await {
                Err(RedisError::WrongType { .. }) => not_ours(&write.key),
                Ok(written) if written.contains(&Written::Foreign) => not_ours(&write.key),
                written => drop(written?),
            }
        }
        Ok(())
    }

    /// Follows until it is dropped. A Redis that has nothing is given everything.
    pub async fn run(self: Arc<Self>) {
        self.running.store(true, Ordering::Release);
        let mut looked: Option<Instant> = None;
        let mut failing = false;
        loop {
            let due = looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
            let result = self.step(due).await;
            if due {
                looked = Some(Instant::now());
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
            let look = looked.map_or(Duration::ZERO, |at| LOOK_EVERY.saturating_sub(at.elapsed()));
            tokio::select! {
                () = self.noted.notified() => {}
                () = tokio::time::sleep(look) => {}
            }
        }
    }

    /// Waits until Redis has the records up to a position, so that whoever wrote them reads them there; not if it does not answer, or has much else to
    /// take, and never longer than a command may.
    pub async fn reached(&self, position: Position) {
        let busy = self.waiting(Pending::cost) > BUSY;
        if busy || !self.running() || !self.whole() || self.client.breaker() != BreakerState::Closed {
            return;
        }
        let mut written = self.written.subscribe();
        let there = written.wait_for(|written| *written > position.0);
        let _in_time = tokio::time::timeout(self.client.deadline(PATIENCE), there).await.is_ok();
    }

    fn rise(&self, written: u64) {
        self.written.send_if_modified(|known| {
            let more = written > *known;
            *known = written.max(*known);
            more
        });
    }

    async fn step(&self, due: bool) -> Result<(), RemoteError> {
        if due {
            self.look().await?;
        }
        self.flush_within(TURN, |_| ()).await?;
        if due {
            self.advance().await?;
        }
        Ok(())
    }

    /// Whether somebody keeps this going, so that what changes is written.
    pub(crate) fn running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Looks at what Redis says of itself: whether it is whole, and which generations its items need vectors of.
    pub(crate) async fn look(&self) -> Result<(), RemoteError> {
        let mut meta = Meta::read(&self.client).await?;
        let nodes = self.client.run_ids().await?;
        if let Some(redis) = meta.project.take_if(|project| *project != self.project) {
            return Err(RemoteError::OtherProject { redis, own: self.project.clone() });
        }
        if meta.whole && meta.definitions.as_deref() != Some(&*self.definitions) {
            self.check_log(meta.log_position.map_or(0, |position| position + 1))?;
            tracing::warn!(
                server = self.client.server(),
                "Redis was written under other settings; writing everything anew"
            );
            self.forget().await?;
            meta = Meta::read(&self.client).await?;
        }
        if meta.whole && meta.nodes.as_ref() != Some(&nodes) {
            self.make_up(&meta).await?;
            meta.whole = false;
        } else if meta.whole {
            self.filling.store(false, Ordering::Release);
            self.catch_up(meta.log_position.map_or(0, |position| position + 1)).await?;
        } else if !self.filling.load(Ordering::Acquire) || !self.marked().await? {
            if self.whole() {
                tracing::warn!(server = self.client.server(), "Redis lost its data; writing everything anew");
            }
            // Everything from now on is written to a Redis that still has this mark, or all is begun again.
            let mut mark = cmd("HSET");
            mark.arg(self.client.layout().meta()).arg(&self.mark).arg(&*self.definitions);
            self.client.call(META, &mark).await?;
            self.note_all();
            self.caught_up.store(true, Ordering::Release);
            self.filling.store(true, Ordering::Release);
        }
        let named = meta.generation.into_iter().chain(meta.publishing);
        let mut models = Vec::new();
        for version in named {
            match self.model(version) {
                Ok(model) => models.push(model),
                // Items that change get no vector of it until its files are here. Who publishes hears of it.
                Err(error) => tracing::debug!(version, %error, "the model of a generation in Redis is not here"),
            }
        }
        self.serving.store(Arc::new(models));
        *self.nodes.lock() = nodes;
        self.whole.store(meta.whole, Ordering::Release);
        Ok(())
    }

    /// Whether Redis still has what this process wrote since it began to fill it.
    async fn marked(&self) -> Result<bool, RemoteError> {
        let mut get = cmd("HGET");
        get.arg(self.client.layout().meta()).arg(&self.mark);
        let mark = self.client.call(META, &get).await?;
        Ok(matches!(mark, Value::BulkString(mark) if mark == self.definitions.as_bytes()))
    }

    /// A server that started anew, or that took another's place, may lack what was acknowledged last: it is not whole until that was written again.
    async fn make_up(&self, meta: &Meta) -> Result<(), RemoteError> {
        let next = meta.log_position.map_or(0, |position| position + 1);
        self.check_log(next)?;
        if meta.nodes.is_some() {
            tracing::warn!(
                server = self.client.server(),
                from = next,
                "Redis started anew; writing again what it may lack"
            );
        }
        let mut unmark = Pipeline::new();
        unmark.cmd("HSET").arg(self.client.layout().meta()).arg(&self.mark).arg(&*self.definitions);
        unmark.cmd("HDEL").arg(self.client.layout().meta()).arg(&[meta::PROJECT, DEFINITIONS]);
        self.client.pipeline(META, &unmark).await?.into_iter().try_for_each(|answer| answer.map(|_| ()))?;
        self.met.lock().clear();
        if self.client.is_cluster() {
            // What the position says of one node says nothing of the others.
            self.note_all();
        } else {
            self.caught_up.store(false, Ordering::Release);
            self.catch_up(next).await?;
        }
        self.filling.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes, once, what the records say that Redis does not have from before this process began. `next` is the first of them.
    async fn catch_up(&self, next: u64) -> Result<(), RemoteError> {
        if self.caught_up.load(Ordering::Acquire) {
            return Ok(());
        }
        self.check_log(next)?;
        let mut records = self.log.read_from(Position(next));
        loop {
            let chunk = records.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            if chunk.is_empty() {
                break;
            }
            self.note(&chunk);
            tokio::task::yield_now().await;
        }
        self.rise(next);
        self.caught_up.store(true, Ordering::Release);
        Ok(())
    }

    /// Refuses a Redis that has more than this log.
    fn check_log(&self, next: u64) -> Result<(), RemoteError> {
        let end = self.log.end()?.0;
        if next > end { Err(RemoteError::OtherLog { redis: next, log: end }) } else { Ok(()) }
    }

    /// Takes away what says that anything can be answered from Redis: the marks, and the indexes, which name attributes.
    pub(crate) async fn forget(&self) -> Result<(), RemoteError> {
        let layout = self.client.layout();
        let mut marks = [meta::PROJECT, meta::GENERATION, DEFINITIONS, PUBLISHING].map(str::to_owned).to_vec();
        // Vectors go when their time is over, unless the generation is published again by then.
        let mut retire = cmd("HSET");
        retire.arg(layout.meta()).arg(&self.mark).arg(&*self.definitions);
        for index in self.client.indexes().await? {
            let Some(generation) = layout.generation_of_index(&index) else { continue };
            self.client.drop_index(generation).await?;
            marks.push(format!("{PUBLISHED}{generation}"));
            retire.arg(format!("{RETIRED}{generation}")).arg(Timestamp::now().as_micros());
        }
        let mut forget = cmd("HDEL");
        forget.arg(layout.meta()).arg(&marks);
        self.client.call(META, &forget).await?;
        self.client.call(META, &retire).await?;
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
        let layout = self.client.layout();
        let rankings_at = self.write_rankings().await?;
        if self.filling.load(Ordering::Acquire) && self.waiting(Pending::len) == 0 {
            let mut complete = COMPLETE.run(layout.meta());
            complete.arg(&self.project).arg(&*self.definitions).arg(&self.mark);
            if self.run_script(&COMPLETE, complete).await? == Value::Int(1) {
                self.whole.store(true, Ordering::Release);
            }
            // If somebody else ended it, or it has to begin again, the next look tells.
            self.filling.store(false, Ordering::Release);
        }
        let mut advance = ADVANCE.run(layout.meta());
        let last = self.written.borrow().checked_sub(1).map_or(-1, |last| last as i64);
        advance.arg(rankings_at.as_micros()).arg(last).arg(self.nodes.lock().as_str());
        self.run_script(&ADVANCE, advance).await.map(|_| ())
    }

    /// Writes the rankings if they are others than Redis has, and now and then anyway. The moment of those that it has then.
    async fn write_rankings(&self) -> Result<Timestamp, RemoteError> {
        let (now, state) = (Timestamp::now(), self.writes.state());
        let fingerprint = state.rankings(now).fingerprint();
        let known = *self.rankings.lock();
        let same = |known: &WrittenRankings| known.fingerprint == fingerprint && known.written.elapsed() < RANK_AGAIN;
        if let Some(known) = known.filter(same).filter(|_| !self.filling.load(Ordering::Acquire)) {
            return Ok(known.at);
        }
        let mut set = cmd("SET");
        set.arg(self.client.layout().rankings()).arg(state.export_rankings(now));
        self.client.call(WRITE, &set).await?;
        *self.rankings.lock() = Some(WrittenRankings { fingerprint, at: now, written: Instant::now() });
        Ok(now)
    }

    async fn run_script(&self, script: &'static Script, run: Cmd) -> Result<Value, RemoteError> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(run);
        let answer = self.client.scripts(META, script, &pipeline).await?.pop();
        Ok(answer.transpose()?.unwrap_or(Value::Nil))
    }
}

fn not_ours(key: &str) {
    tracing::warn!(
        key,
        "somebody else's key is in the way of an item or user, which is not written; delete it, or set redis.prefix"
    );
}
