//! The event log as its users see it: open, append, close.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;
use tastemaker_types::{Position, Record};

use crate::commit::{Committer, Counters};
use crate::ids::{self, IdHash, IdIndex};
use crate::lock::WriterLock;
use crate::queue::{Outcome, Prepared, Queue};
use crate::reader::Frames;
use crate::storage::{Folder, Storage};
use crate::writer::{SegmentWriter, Tail};
use crate::{LogError, LogReader, format, wire};

/// Called with every committed group, in log order, after its sync and before its callers are answered.
pub type OnCommit = Box<dyn FnMut(&[(Position, Record)]) + Send>;

/// Sizes and limits; the defaults suit nearly everyone.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A segment that has reached this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// The largest record, in encoded bytes.
    pub max_record_bytes: usize,
    /// The most records in one call.
    pub max_call_records: usize,
    /// The most encoded bytes in one call; at most 32 MiB.
    pub max_call_bytes: usize,
    /// Calls are grouped into one write and sync up to about this many bytes; at most 32 MiB.
    pub group_bytes: usize,
    /// Encoded bytes that may wait to be written before [`EventLog::append`] blocks and [`EventLog::append_async`] refuses.
    pub queue_bytes: usize,
    /// Records that [`EventLog::append_unsynced`] holds at most.
    pub unsynced_records: usize,
    /// How long they may wait for a group to go out with.
    pub unsynced_linger: Duration,
    /// Event ids held in memory before they go to the index on disk (25 to 50 bytes each, twice).
    pub memory_ids: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            max_record_bytes: tastemaker_types::MAX_RECORD_BYTES,
            max_call_records: 100_000,
            max_call_bytes: 32 << 20,
            group_bytes: 4 << 20,
            queue_bytes: 64 << 20,
            unsynced_records: 10_000,
            unsynced_linger: Duration::from_secs(1),
            memory_ids: ids::RUN_IDS,
        }
    }
}

impl LogOptions {
    /// Keeps every frame below the format's limit.
    fn bounded(mut self) -> Self {
        let most = format::MAX_PAYLOAD / 2;
        self.max_call_bytes = self.max_call_bytes.min(most);
        self.group_bytes = self.group_bytes.min(most);
        self.memory_ids = self.memory_ids.max(1);
        self
    }
}

/// What became of one record of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where it is in the log.
    pub position: Position,
    /// It is an event whose id was there already: nothing was written, and `position` is that of the first.
    pub duplicate: bool,
}

/// Counters since the log was opened, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// The position after the last committed record.
    pub end: Position,
    /// Records committed.
    pub records: u64,
    /// Events whose id was there already.
    pub duplicates: u64,
    /// Groups committed, each with one sync.
    pub groups: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Time spent in writes and syncs.
    pub write_time: Duration,
    /// Records given to [`EventLog::append_unsynced`] that were dropped.
    pub dropped_unsynced: u64,
    /// Groups that failed.
    pub failed_groups: u64,
    /// Bytes that wait to be written now.
    pub waiting_bytes: usize,
}

/// The event log, open for writing. Shared by reference among any number of threads. Dropping it commits what waits; use
/// [`EventLog::close`] to hear about errors of that.
pub struct EventLog {
    dir: PathBuf,
    options: LogOptions,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    committer: Option<JoinHandle<Result<(), LogError>>>,
    _lock: WriterLock,
}

impl EventLog {
    /// Opens the log in `dir`, made if it is not there, as its only writer, and recovers it: an interrupted write at the end is
    /// cut, damage anywhere before is an error. Records are not replayed; read them with [`EventLog::reader`].
    ///
    /// # Errors
    /// [`LogError::Locked`] if there is another writer; damage; failed I/O.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions, on_commit: OnCommit) -> Result<Self, LogError> {
        let dir = dir.as_ref();
        create_dir_durably(dir)?;
        let lock = WriterLock::acquire(dir)?;
        Self::open_locked(dir, Arc::new(Folder::new(dir)), options, on_commit, lock)
    }

    pub(crate) fn open_locked(
        dir: &Path,
        storage: Arc<dyn Storage>,
        options: LogOptions,
        on_commit: OnCommit,
        lock: WriterLock,
    ) -> Result<Self, LogError> {
        let options = options.bounded();
        let tail = Tail::find(&*storage)?;
        let mut ids = IdIndex::open(dir, options.memory_ids)?;
        if ids.watermark() > tail.end {
            return Err(LogError::LostTail { dir: dir.to_owned(), end: tail.end, acknowledged: ids.watermark() });
        }
        let writer = SegmentWriter::resume(Arc::clone(&storage), &tail, options.segment_bytes)?;
        catch_up(&mut ids, storage)?;
        let queue = Arc::new(Queue::new(&options));
        let counters = Arc::new(Counters::default());
        counters.end.store(tail.end.0, Relaxed);
        let committer = Committer {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            writer,
            ids,
            on_commit,
            group_bytes: options.group_bytes,
            poisoned: None,
        };
        let committer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || committer.run())
            .map_err(|e| LogError::io("start a thread for", dir, e))?;
        Ok(Self { dir: dir.to_owned(), options, queue, counters, committer: Some(committer), _lock: lock })
    }

    /// Appends the records of one call, all or none, and waits until they are on disk and the listener has seen them. Calls
    /// that wait at the same time share a sync. When the queue is full, waits for room.
    ///
    /// # Errors
    /// Nothing of the call was acknowledged; see [`LogError`]. After [`LogError::Poisoned`] or [`LogError::Closed`] it may
    /// still be found after a restart, as after a crash; sending it again is safe, because events carry an id.
    pub fn append(&self, records: Vec<Record>) -> Result<Vec<Appended>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let receiver = self.queue.push(Prepared::new(records, &self.options)?, true)?;
        receiver.recv().unwrap_or(Err(LogError::Closed))
    }

    /// Like [`EventLog::append`], for callers that must not block: a full queue is [`LogError::Busy`]. The records are queued
    /// when this returns, whether or not the future is awaited; it needs no particular runtime.
    pub fn append_async(&self, records: Vec<Record>) -> impl Future<Output = Outcome> + Send + 'static {
        let queued = if records.is_empty() {
            None
        } else {
            Some(Prepared::new(records, &self.options).and_then(|prepared| self.queue.push(prepared, false)))
        };
        async move {
            match queued {
                None => Ok(Vec::new()),
                Some(receiver) => receiver?.await.unwrap_or(Err(LogError::Closed)),
            }
        }
    }

    /// Leaves records that nobody waits for (served recommendations): they go out with the next group, at the latest after
    /// [`LogOptions::unsynced_linger`]. False if they were dropped, because too many wait or one is too large;
    /// [`LogStats::dropped_unsynced`] counts them.
    pub fn append_unsynced(&self, records: Vec<Record>) -> bool {
        let count = records.len();
        let queued = Prepared::new(records, &self.options).is_ok_and(|prepared| self.queue.push_unsynced(prepared));
        if !queued {
            self.counters.dropped.fetch_add(count as u64, Relaxed);
        }
        queued
    }

    /// The position after the last committed record.
    pub fn end(&self) -> Position {
        Position(self.counters.end.load(Relaxed))
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader::with_storage(Arc::new(Folder::new(&self.dir)))
    }

    /// Counters for metrics.
    pub fn stats(&self) -> LogStats {
        let counters = &self.counters;
        LogStats {
            end: self.end(),
            records: counters.records.load(Relaxed),
            duplicates: counters.duplicates.load(Relaxed),
            groups: counters.groups.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            write_time: Duration::from_nanos(counters.write_nanos.load(Relaxed)),
            dropped_unsynced: counters.dropped.load(Relaxed),
            failed_groups: counters.failed_groups.load(Relaxed),
            waiting_bytes: self.queue.waiting_bytes(),
        }
    }

    /// Commits what waits, saves the index of event ids, and lets go of the log.
    ///
    /// # Errors
    /// Why the log was poisoned, or why the index could not be saved (the next start then catches up).
    pub fn close(mut self) -> Result<(), LogError> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), LogError> {
        self.queue.close();
        match self.committer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(LogError::Poisoned { reason: "the listener panicked".to_owned() }),
        }
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("dir", &self.dir).field("end", &self.end()).finish_non_exhaustive()
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        if let Err(e) = self.shut_down() {
            tracing::warn!("closing the event log: {e}");
        }
    }
}

/// Reads the event ids that the index does not have.
fn catch_up(ids: &mut IdIndex, storage: Arc<dyn Storage>) -> Result<(), LogError> {
    let from = ids.watermark();
    let mut frames = Frames::new(storage, from);
    loop {
        let mut end = from;
        let more = frames.next(|position, bytes| {
            end = position.next();
            if position >= from
                && let Some((event_id, _)) = wire::decode_event_key(bytes)?
            {
                ids.insert(IdHash::of(&event_id), position);
            }
            Ok(())
        })?;
        if !more {
            return Ok(());
        }
        ids.wait_for_room()?;
        ids.complete_to(end)?;
    }
}

/// Makes a folder and everything above it, and syncs the names.
fn create_dir_durably(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = fs::File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|e| LogError::io("sync", parent, e))
}
