//! Everything that can go wrong with the event log, sorted by who must act. Errors are cloneable, because one failed
//! group commit answers many callers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tastemaker_types::Position;

/// Why the log could not be opened, written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The folder does not exist.
    #[error("there is no event log at {}; check the data directory, or write something first", dir.display())]
    NotFound {
        /// The folder that was asked for.
        dir: PathBuf,
    },
    /// Another process (or another part of this one) writes to the log.
    #[error(
        "the event log at {} is already open for writing by {holder}; stop it first, or use another data directory",
        dir.display()
    )]
    Locked {
        /// The folder of the log.
        dir: PathBuf,
        /// `process 4711`, or `another process` if it did not say.
        holder: String,
    },
    /// No space is left. The records of this call are not stored, everything acknowledged earlier is, and the log takes
    /// writes again as soon as there is space.
    #[error("no space left to write {}: the records were not stored, nothing acknowledged is lost; free space and send them again", path.display())]
    DiskFull {
        /// The segment file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The system refused an operation on a file.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier sync failed, so that nobody can tell what is on disk: nothing more is acknowledged.
    #[error(
        "the event log takes no more writes since {reason}; check the disk and restart: recovery keeps every acknowledged record"
    )]
    Poisoned {
        /// What happened.
        reason: String,
    },
    /// Bytes before the end of the log are not what was written. Never skipped, never cut.
    #[error(
        "the event log is corrupt: {} at byte {offset} (position {position}): {detail}; restore this file from a backup, \
         or see 'Corruption' in docs/event-log.md",
        path.display()
    )]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where the first bad byte range starts.
        offset: u64,
        /// The position that the record there should have.
        position: Position,
        /// What is wrong.
        detail: String,
    },
    /// A segment file is missing: records between two positions are gone.
    #[error(
        "the event log at {} has no segment for position {expected}, only one from {found} on; restore {expected:0>20}.log \
         from a backup",
        dir.display()
    )]
    MissingSegment {
        /// The folder of the log.
        dir: PathBuf,
        /// The first position that is missing.
        expected: Position,
        /// Where the log goes on.
        found: Position,
    },
    /// The log ends before a position that had been acknowledged: its end was lost, not torn.
    #[error(
        "the event log at {} ends at position {end}, but records up to position {acknowledged} had been acknowledged; restore the \
         newest segment from a backup, or accept the loss by deleting the folder {}",
        dir.display(),
        dir.join(crate::ids::FOLDER).display()
    )]
    LostTail {
        /// The folder of the log.
        dir: PathBuf,
        /// The end that was found.
        end: Position,
        /// The end that is known to have been on disk.
        acknowledged: Position,
    },
    /// A newer version of this program wrote the file.
    #[error("{} has format version {version}, this program reads up to {supported}; use a newer version", path.display())]
    NewerFormat {
        /// The segment file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version that is known here.
        supported: u32,
    },
    /// One record is too large.
    #[error("record {index} of the call has {bytes} bytes, at most {limit} are allowed")]
    RecordTooLarge {
        /// Its place in the call, from 0.
        index: usize,
        /// Its size when encoded.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// One call has too many records or bytes.
    #[error(
        "a call of {records} records and {bytes} bytes is too large; split it into calls of at most {max_records} records and {max_bytes} bytes"
    )]
    CallTooLarge {
        /// Records in the call.
        records: usize,
        /// Bytes when encoded (counted until over the limit).
        bytes: usize,
        /// The limit in records.
        max_records: usize,
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// More is waiting to be written than the queue holds.
    #[error("too many writes are waiting ({waiting_bytes} bytes); try again in a moment")]
    Busy {
        /// Bytes in the queue.
        waiting_bytes: usize,
    },
    /// The log was closed.
    #[error("the event log is closed")]
    Closed,
    /// The index of event ids failed. It is derived from the log, which is whole.
    #[error(
        "the index of event ids in {} failed: {detail}; restart, and if it fails again, delete that folder: it is rebuilt from the log",
        dir.display()
    )]
    Index {
        /// The folder of the index.
        dir: PathBuf,
        /// What the storage engine said.
        detail: String,
    },
}

impl LogError {
    /// Wraps an I/O error; no space left becomes [`LogError::DiskFull`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            return Self::DiskFull { path, source: Arc::new(source) };
        }
        Self::Io { action, path, source: Arc::new(source) }
    }
}

/// Whether the error says that there is no room: a full disk, a used-up quota, a file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
