//! The committer: one thread that turns whatever calls wait into one frame, syncs it, tells the in-order listener, and only
//! then answers the callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tastemaker_types::{Position, Record};

use crate::LogError;
use crate::format::FRAME_HEADER;
use crate::ids::{IdHash, IdIndex};
use crate::log::{Appended, OnCommit};
use crate::queue::{Call, Queue};
use crate::writer::{AppendError, SegmentWriter};

/// Counters since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) end: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) write_nanos: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed_groups: AtomicU64,
}

/// Everything that the committing thread owns.
pub(crate) struct Committer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) writer: SegmentWriter,
    pub(crate) ids: IdIndex,
    pub(crate) on_commit: OnCommit,
    pub(crate) group_bytes: usize,
    pub(crate) poisoned: Option<String>,
}

/// Calls that became one frame, before it is written.
struct Group {
    frame: Vec<u8>,
    records: Vec<(Position, Record)>,
    ids: HashMap<IdHash, Position>,
    outcomes: Vec<Vec<Appended>>,
    duplicates: u64,
}

impl Committer {
    /// Serves the queue until it is closed and empty, then saves the index.
    ///
    /// # Errors
    /// Why the index could not be saved, or why the log was poisoned.
    pub(crate) fn run(mut self) -> Result<(), LogError> {
        // However this thread ends, nobody may wait for it afterwards.
        let _closing = CloseOnDrop(Arc::clone(&self.queue));
        while let Some(calls) = self.queue.take(self.group_bytes) {
            self.commit(calls);
        }
        let end = self.writer.end();
        self.ids.close(end)?;
        self.poisoned.map_or(Ok(()), |reason| Err(LogError::Poisoned { reason }))
    }

    fn commit(&mut self, mut calls: Vec<Call>) {
        let outcomes = self.try_commit(&mut calls);
        let (mut outcomes, error) = match outcomes {
            Ok(outcomes) => (outcomes.into_iter(), None),
            Err(e) => {
                self.counters.failed_groups.fetch_add(1, Relaxed);
                (Vec::new().into_iter(), Some(e))
            }
        };
        for call in calls {
            let outcome = outcomes.next();
            match (call.reply, &error) {
                (Some(reply), Some(e)) => drop(reply.send(Err(e.clone()))),
                // A caller who went away is no error.
                (Some(reply), None) => drop(reply.send(Ok(outcome.unwrap_or_default()))),
                (None, Some(_)) => {
                    self.counters.dropped.fetch_add(call.prepared.ends.len() as u64, Relaxed);
                }
                (None, None) => {}
            }
        }
    }

    fn try_commit(&mut self, calls: &mut [Call]) -> Result<Vec<Vec<Appended>>, LogError> {
        if let Some(reason) = &self.poisoned {
            return Err(LogError::Poisoned { reason: reason.clone() });
        }
        let mut group = self.assemble(calls)?;
        if !group.records.is_empty() {
            // Only for what is new: a repetition needs no space, neither on disk nor in memory.
            self.ids.complete_to(self.writer.end())?;
            let started = Instant::now();
            match self.writer.append(&mut group.frame, group.records.len() as u32) {
                Ok(()) => {}
                Err(AppendError::Refused(e)) => return Err(e),
                Err(AppendError::Fatal(e)) => {
                    tracing::error!("the event log takes no more writes: {e}");
                    self.poisoned = Some(e.to_string());
                    return Err(LogError::Poisoned { reason: e.to_string() });
                }
            }
            for (id, position) in group.ids {
                self.ids.insert(id, position);
            }
            self.counters.write_nanos.fetch_add(started.elapsed().as_nanos() as u64, Relaxed);
            self.counters.groups.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(group.frame.len() as u64, Relaxed);
            self.counters.records.fetch_add(group.records.len() as u64, Relaxed);
            (self.on_commit)(&group.records);
            self.counters.end.store(self.writer.end().0, Relaxed);
        }
        self.counters.duplicates.fetch_add(group.duplicates, Relaxed);
        Ok(group.outcomes)
    }

    /// Gives every record a position, or that of the record it repeats.
    fn assemble(&self, calls: &mut [Call]) -> Result<Group, LogError> {
        let records = calls.iter().map(|call| call.prepared.records.len()).sum();
        let bytes: usize = calls.iter().map(|call| call.prepared.bytes.len()).sum();
        let mut group = Group {
            frame: Vec::with_capacity(FRAME_HEADER + bytes),
            records: Vec::with_capacity(records),
            ids: HashMap::with_capacity(records),
            outcomes: Vec::with_capacity(calls.len()),
            duplicates: 0,
        };
        group.frame.resize(FRAME_HEADER, 0);
        let mut next = self.writer.end();
        for call in calls {
            let prepared = &mut call.prepared;
            let mut outcome = Vec::with_capacity(prepared.ends.len());
            let mut start = 0;
            for ((record, id), end) in prepared.records.drain(..).zip(&prepared.ends) {
                let encoded = prepared.bytes.get(start..*end).unwrap_or_default();
                start = *end;
                if let Some(id) = id {
                    let earlier = match group.ids.get(&id) {
                        Some(position) => Some(*position),
                        None => self.ids.get(id)?,
                    };
                    if let Some(position) = earlier {
                        group.duplicates += 1;
                        outcome.push(Appended { position, duplicate: true });
                        continue;
                    }
                    group.ids.insert(id, next);
                }
                group.frame.extend_from_slice(encoded);
                group.records.push((next, record));
                outcome.push(Appended { position: next, duplicate: false });
                next = next.next();
            }
            group.outcomes.push(outcome);
        }
        Ok(group)
    }
}

struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        // Calls that are left get no answer, which their callers see as a closed log.
        while self.0.take(usize::MAX).is_some() {}
    }
}
