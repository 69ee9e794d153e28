//! Event id → position, so that a repeated id is applied once. Derived from the log and never the truth: the newest ids are
//! in memory, full runs of them go sorted into a storage engine (an LSM tree) together with the position up to which they
//! are complete, and after a crash the log is read again from there. Deleting the folder costs a rebuild, nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::{Condvar, Mutex};
use tastemaker_types::Position;

use crate::LogError;
use crate::error::is_full;

/// The folder of the index inside that of the log.
pub(crate) const FOLDER: &str = "ids";

/// Ids held in memory before they go to the storage engine; the most that a hash map of 2²⁰ buckets holds.
pub(crate) const RUN_IDS: usize = (1 << 20) / 8 * 7;
/// Memory for blocks of the tree that were read.
const CACHE_BYTES: u64 = 64 << 20;
/// The key of the position up to which saved ids are complete; shorter than any id's, so it sorts before them.
const WATERMARK: [u8; 1] = [0];
const RETRY: Duration = Duration::from_secs(1);

/// What stands for an event id: 128 bits of xxh3. Among ten billion ids two collide by chance with probability 10⁻¹⁹. Whoever
/// crafts a collision has nothing but his own second event taken for a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IdHash {
    high: u64,
    low: u64,
}

impl IdHash {
    pub(crate) fn of(event_id: &str) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_128(event_id.as_bytes());
        Self { high: (hash >> 64) as u64, low: hash as u64 }
    }

    fn key(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.high.to_be_bytes());
        key[8..].copy_from_slice(&self.low.to_be_bytes());
        key
    }
}

/// Ids that are not in the storage engine yet.
struct Run {
    ids: HashMap<IdHash, Position>,
    /// All ids of earlier positions are in this run or saved.
    end: Position,
}

/// The index. One thread uses it; another one saves full runs.
pub(crate) struct IdIndex {
    dir: PathBuf,
    run_ids: usize,
    active: HashMap<IdHash, Position>,
    /// A full run on its way to the storage engine.
    sealed: Option<Arc<Run>>,
    keyspace: Keyspace,
    /// Whether the storage engine has any id: a fresh log need not ask.
    saved_any: bool,
    progress: Arc<Progress>,
    saver: Option<(SyncSender<Arc<Run>>, JoinHandle<()>)>,
    _database: Database,
}

/// What the saving thread has done.
#[derive(Default)]
struct Progress {
    state: Mutex<Saved>,
    changed: Condvar,
}

#[derive(Default)]
struct Saved {
    watermark: Position,
    failure: Option<fjall::Error>,
}

impl IdIndex {
    /// Opens the index inside `dir`, the log's folder; [`IdIndex::watermark`] then says from where the log has to be read.
    /// An index that cannot be opened is thrown away and begun anew.
    pub(crate) fn open(dir: &Path, run_ids: usize) -> Result<Self, LogError> {
        let dir = dir.join(FOLDER);
        let failed = |e: fjall::Error| error(&dir, &e);
        let (database, keyspace, watermark) = match open_tree(&dir) {
            Ok(opened) => opened,
            Err(e) => {
                tracing::warn!(
                    "the index of event ids in {} is unusable ({e}); rebuilding it from the log",
                    dir.display()
                );
                fs_err::remove_dir_all(&dir).map_err(|e| LogError::io("remove", &dir, e))?;
                open_tree(&dir).map_err(failed)?
            }
        };
        let progress = Arc::new(Progress::default());
        progress.state.lock().watermark = watermark.unwrap_or_default();
        let (sender, receiver) = sync_channel(1);
        let saver = std::thread::Builder::new()
            .name("event-ids".to_owned())
            .spawn({
                let (keyspace, progress) = (keyspace.clone(), Arc::clone(&progress));
                move || save_runs(&keyspace, &receiver, &progress)
            })
            .map_err(|e| LogError::io("start a thread for", &dir, e))?;
        Ok(Self {
            dir,
            run_ids,
            active: HashMap::new(),
            sealed: None,
            keyspace,
            saved_any: watermark.is_some(),
            progress,
            saver: Some((sender, saver)),
            _database: database,
        })
    }

    /// All ids before this position are saved. Only synced records ever get here.
    pub(crate) fn watermark(&self) -> Position {
        self.progress.state.lock().watermark
    }

    /// Where the record with this id is.
    pub(crate) fn get(&self, id: IdHash) -> Result<Option<Position>, LogError> {
        if let Some(position) = self.active.get(&id) {
            return Ok(Some(*position));
        }
        if let Some(position) = self.sealed.as_ref().and_then(|run| run.ids.get(&id)) {
            return Ok(Some(*position));
        }
        if !self.saved_any {
            return Ok(None);
        }
        let value = self.keyspace.get(id.key()).map_err(|e| error(&self.dir, &e))?;
        value.map(|bytes| decode_position(&bytes).ok_or_else(|| self.damaged("an entry is damaged"))).transpose()
    }

    /// Notes an id of a synced record.
    pub(crate) fn insert(&mut self, id: IdHash, position: Position) {
        self.active.insert(id, position);
    }

    /// To be called when the ids of all records before `end` are inserted: hands a full run over to be saved.
    ///
    /// # Errors
    /// Saving has failed for so long that memory would run out.
    pub(crate) fn complete_to(&mut self, end: Position) -> Result<(), LogError> {
        const PATIENCE: usize = 4;
        if self.active.len() < self.run_ids {
            return Ok(());
        }
        if let Some(run) = &self.sealed {
            let saved = self.progress.state.lock();
            if saved.watermark < run.end {
                return match &saved.failure {
                    Some(failure) if self.active.len() >= self.run_ids.saturating_mul(PATIENCE) => {
                        Err(error(&self.dir, failure))
                    }
                    _ => Ok(()),
                };
            }
        }
        let ids = std::mem::take(&mut self.active);
        let run = Arc::new(Run { ids, end });
        if let Some((saver, _)) = &self.saver {
            // The channel has room: the run before is saved. Were the thread gone, the ids would stay here.
            saver.try_send(Arc::clone(&run)).ok();
        }
        self.sealed = Some(run);
        self.saved_any = true;
        Ok(())
    }

    /// Waits until the run that was handed over last is saved, so that catching up with a long log stays within memory.
    pub(crate) fn wait_for_room(&mut self) -> Result<(), LogError> {
        let Some(run) = &self.sealed else { return Ok(()) };
        if self.active.len() < self.run_ids {
            return Ok(());
        }
        let mut saved = self.progress.state.lock();
        while saved.watermark < run.end {
            if let Some(failure) = saved.failure.take() {
                return Err(error(&self.dir, &failure));
            }
            self.progress.changed.wait(&mut saved);
        }
        Ok(())
    }

    /// Saves everything up to `end`, so that the next start has nothing to catch up with.
    pub(crate) fn close(mut self, end: Position) -> Result<(), LogError> {
        if let Some((sender, saver)) = self.saver.take() {
            drop(sender);
            saver.join().map_err(|_| self.damaged("its thread panicked"))?;
        }
        let sealed = self.sealed.take().filter(|run| self.watermark() < run.end);
        let mut ids = std::mem::take(&mut self.active);
        ids.extend(sealed.iter().flat_map(|run| run.ids.iter().map(|(id, position)| (*id, *position))));
        if self.watermark() >= end {
            return Ok(());
        }
        match save(&self.keyspace, &Run { ids, end }).map_err(|e| error(&self.dir, &e)) {
            Err(LogError::DiskFull { .. }) => {
                tracing::warn!("no space is left to save event ids; the next start reads them from the log");
                Ok(())
            }
            saved => saved,
        }
    }

    fn damaged(&self, detail: &str) -> LogError {
        LogError::Index { dir: self.dir.clone(), detail: detail.to_owned() }
    }
}

/// An error of the storage engine; no space left is that of the log.
fn error(dir: &Path, error: &fjall::Error) -> LogError {
    match error {
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) if is_full(io) => {
            LogError::DiskFull { path: dir.to_owned(), source: Arc::new(io.kind().into()) }
        }
        other => LogError::Index { dir: dir.to_owned(), detail: other.to_string() },
    }
}

fn open_tree(dir: &Path) -> fjall::Result<(Database, Keyspace, Option<Position>)> {
    let database = Database::builder(dir).worker_threads(1).cache_size(CACHE_BYTES).open()?;
    // Nearly every id that is looked up is new: filters decide, and they are read in small parts, so that memory stays
    // bounded by the cache however many ids there are.
    let keyspace = database.keyspace("ids", || {
        KeyspaceCreateOptions::default()
            .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(12.0))))
            .filter_block_partitioning_policy(PartitioningPolicy::all(true))
            .index_block_partitioning_policy(PartitioningPolicy::all(true))
            .manual_journal_persist(true)
    })?;
    let watermark = keyspace.get(WATERMARK)?.and_then(|bytes| decode_position(&bytes));
    Ok((database, keyspace, watermark))
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    bytes.try_into().ok().map(|bytes| Position(u64::from_be_bytes(bytes)))
}

/// Writes a run and its watermark; both appear at once.
fn save(keyspace: &Keyspace, run: &Run) -> fjall::Result<()> {
    let mut ids: Vec<(IdHash, Position)> = run.ids.iter().map(|(id, position)| (*id, *position)).collect();
    ids.sort_unstable();
    let mut ingestion = keyspace.start_ingestion()?;
    ingestion.write(WATERMARK, run.end.0.to_be_bytes())?;
    for (id, position) in ids {
        ingestion.write(id.key(), position.0.to_be_bytes())?;
    }
    ingestion.finish()
}

/// The saving thread: tries each run until it is saved or the index is closed.
fn save_runs(keyspace: &Keyspace, runs: &Receiver<Arc<Run>>, progress: &Progress) {
    while let Ok(run) = runs.recv() {
        while let Err(e) = save(keyspace, &run) {
            tracing::warn!("could not save event ids, trying again: {e}");
            progress.state.lock().failure = Some(e);
            progress.changed.notify_all();
            // Nothing else is sent while a run is under way: a closed channel is all that can be seen here.
            if matches!(runs.recv_timeout(RETRY), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
        }
        *progress.state.lock() = Saved { watermark: run.end, failure: None };
        progress.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::Entry;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_index_agrees_with_a_map_across_restarts(
            lives in prop::collection::vec(prop::collection::vec(0u32..500, 0..120), 1..4),
            run_ids in 1usize..40,
            closed in any::<bool>(),
        ) {
            let dir = crate::model_disk::scratch();
            let mut expected: HashMap<u32, Position> = HashMap::new();
            let mut log = Vec::new();
            for life in lives {
                let mut ids = IdIndex::open(dir.path(), run_ids).unwrap();
                let from = ids.watermark();
                prop_assert!(from.0 <= log.len() as u64);
                for (position, id) in log.iter().enumerate().skip(from.0 as usize) {
                    ids.insert(hash(*id), Position(position as u64));
                }
                for id in life {
                    prop_assert_eq!(ids.get(hash(id)).unwrap(), expected.get(&id).copied());
                    if let Entry::Vacant(unknown) = expected.entry(id) {
                        let position = Position(log.len() as u64);
                        ids.insert(hash(id), position);
                        unknown.insert(position);
                        log.push(id);
                        ids.complete_to(position.next()).unwrap();
                    }
                }
                for id in 0..500 {
                    prop_assert_eq!(ids.get(hash(id)).unwrap(), expected.get(&id).copied());
                }
                if closed {
                    ids.close(Position(log.len() as u64)).unwrap();
                }
            }
        }
    }

    fn hash(id: u32) -> IdHash {
        IdHash::of(&id.to_string())
    }

    #[test]
    fn an_index_saves_even_where_there_is_no_event() {
        let dir = crate::model_disk::scratch();
        IdIndex::open(dir.path(), 10).unwrap().close(Position(5)).unwrap();
        let ids = IdIndex::open(dir.path(), 10).unwrap();
        assert_eq!(ids.watermark(), Position(5));
        assert_eq!(ids.get(hash(1)).unwrap(), None);
    }
}
