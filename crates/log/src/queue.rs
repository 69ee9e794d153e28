//! Where callers leave their records for the committer: a bounded queue of calls, and beside it a bounded queue of records
//! that nobody waits for. Records are encoded here, on the caller's thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tastemaker_types::Record;

use crate::ids::IdHash;
use crate::log::{Appended, LogOptions};
use crate::{LogError, wire};

/// The result of one call.
pub(crate) type Outcome = Result<Vec<Appended>, LogError>;

/// A call's records, ready to be written.
pub(crate) struct Prepared {
    /// Each with the hash of its event id, if it is an event.
    pub(crate) records: Vec<(Record, Option<IdHash>)>,
    /// The records encoded, each with its length before it.
    pub(crate) bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    pub(crate) ends: Vec<usize>,
}

impl Prepared {
    /// Encodes the records of one call.
    ///
    /// # Errors
    /// A record, or the call, is over its limit.
    pub(crate) fn new(records: Vec<Record>, options: &LogOptions) -> Result<Self, LogError> {
        let too_large = |count: usize, bytes: usize| LogError::CallTooLarge {
            records: count,
            bytes,
            max_records: options.max_call_records,
            max_bytes: options.max_call_bytes,
        };
        let count = records.len();
        if count > options.max_call_records {
            return Err(too_large(count, 0));
        }
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(count);
        let mut hashed = Vec::with_capacity(count);
        for (index, record) in records.into_iter().enumerate() {
            let size = wire::encode(&record, &mut bytes);
            if size > options.max_record_bytes {
                return Err(LogError::RecordTooLarge { index, bytes: size, limit: options.max_record_bytes });
            }
            if bytes.len() > options.max_call_bytes {
                return Err(too_large(count, bytes.len()));
            }
            ends.push(bytes.len());
            let id = match &record {
                Record::Event(event) => Some(IdHash::of(&event.event_id)),
                _ => None,
            };
            hashed.push((record, id));
        }
        Ok(Self { records: hashed, bytes, ends })
    }
}

/// A call that waits for its outcome; `None` for records that nobody waits for.
pub(crate) struct Call {
    pub(crate) prepared: Prepared,
    pub(crate) reply: Option<oneshot::Sender<Outcome>>,
}

/// The queue between callers and the committer.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    max_bytes: usize,
    max_unsynced: usize,
    linger: Duration,
}

#[derive(Default)]
struct State {
    calls: VecDeque<Call>,
    bytes: usize,
    unsynced: VecDeque<Call>,
    unsynced_records: usize,
    unsynced_bytes: usize,
    unsynced_since: Option<Instant>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(options: &LogOptions) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            max_bytes: options.queue_bytes,
            max_unsynced: options.unsynced_records,
            linger: options.unsynced_linger,
        }
    }

    /// Leaves a call; when the queue is full, waits if `patient`, and fails otherwise. A call that is larger than the
    /// whole queue passes when it is alone.
    pub(crate) fn push(&self, prepared: Prepared, patient: bool) -> Result<oneshot::Receiver<Outcome>, LogError> {
        let bytes = prepared.bytes.len();
        let mut state = self.state.lock();
        while !state.closed && !state.calls.is_empty() && state.bytes + bytes > self.max_bytes {
            if !patient {
                return Err(LogError::Busy { waiting_bytes: state.bytes });
            }
            self.room.wait(&mut state);
        }
        if state.closed {
            return Err(LogError::Closed);
        }
        let (sender, receiver) = oneshot::channel();
        state.bytes += bytes;
        state.calls.push_back(Call { prepared, reply: Some(sender) });
        self.work.notify_one();
        Ok(receiver)
    }

    /// Leaves records that nobody waits for; false if there is no room for them.
    pub(crate) fn push_unsynced(&self, prepared: Prepared) -> bool {
        let (records, bytes) = (prepared.records.len(), prepared.bytes.len());
        let mut state = self.state.lock();
        if state.closed
            || state.unsynced_records + records > self.max_unsynced
            || state.unsynced_bytes + bytes > self.max_bytes
        {
            return false;
        }
        state.unsynced_records += records;
        state.unsynced_bytes += bytes;
        state.unsynced_since.get_or_insert_with(Instant::now);
        state.unsynced.push_back(Call { prepared, reply: None });
        self.work.notify_one();
        true
    }

    /// Waits for work and takes a group of calls of about `max_bytes` (at least one call, however large), those that
    /// nobody waits for first. `None` once the queue is closed and empty.
    pub(crate) fn take(&self, max_bytes: usize) -> Option<Vec<Call>> {
        let mut state = self.state.lock();
        loop {
            if !state.calls.is_empty() {
                break;
            }
            if state.closed {
                if state.unsynced.is_empty() {
                    return None;
                }
                break;
            }
            match state.unsynced_since.map(|since| since + self.linger) {
                Some(due) if due <= Instant::now() => break,
                Some(due) => {
                    self.work.wait_until(&mut state, due);
                }
                None => self.work.wait(&mut state),
            }
        }
        let mut group = Vec::with_capacity(state.calls.len() + state.unsynced.len());
        let mut taken = 0;
        while let Some(call) = pop_within(&mut state.unsynced, &mut taken, max_bytes) {
            state.unsynced_records -= call.prepared.records.len();
            state.unsynced_bytes -= call.prepared.bytes.len();
            group.push(call);
        }
        if state.unsynced.is_empty() {
            state.unsynced_since = None;
        }
        while let Some(call) = pop_within(&mut state.calls, &mut taken, max_bytes) {
            state.bytes -= call.prepared.bytes.len();
            group.push(call);
        }
        self.room.notify_all();
        Some(group)
    }

    /// Takes no more calls; those that wait are still served.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Bytes that wait for the committer.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

/// The next call, if it fits into the group; the first one always does.
fn pop_within(calls: &mut VecDeque<Call>, taken: &mut usize, max_bytes: usize) -> Option<Call> {
    let bytes = calls.front()?.prepared.bytes.len();
    if *taken > 0 && *taken + bytes > max_bytes {
        return None;
    }
    // An empty call counts, so that a group is never unbounded.
    *taken += bytes.max(1);
    calls.pop_front()
}
