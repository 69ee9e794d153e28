//! The writing end of the segment files: where the log ends after a crash, and appending frames there so that a failure
//! leaves the end where it was.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tastemaker_types::Position;

use crate::LogError;
use crate::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, VERSION};
use crate::segment::{self, Cursor, Opened, Step};
use crate::storage::{Storage, StorageFile};

/// Where the log ends: found by reading alone, so that it can be questioned before anything is cut.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The segment to append to, with the length of its sound part and its salt; `None` if a new one is to be made.
    segment: Option<(Position, u64, u64)>,
    /// Files whose creation was interrupted.
    unfinished: Vec<Position>,
    /// The position of the next record.
    pub(crate) end: Position,
    /// Bytes of an interrupted write after the sound part.
    pub(crate) torn_bytes: u64,
}

impl Tail {
    /// Walks the last segment.
    ///
    /// # Errors
    /// Damage before the end, a missing first segment, or a failed read.
    pub(crate) fn find(storage: &dyn Storage) -> Result<Self, LogError> {
        let mut segments = segment::list(storage)?;
        let mut unfinished = Vec::new();
        if let Some(&found) = segments.first().filter(|first| first.0 != 0) {
            return Err(LogError::MissingSegment { dir: storage.path().to_owned(), expected: Position(0), found });
        }
        while let Some(first) = segments.pop() {
            let mut cursor = match Cursor::open(storage, first)? {
                Opened::Whole(cursor) => cursor,
                Opened::Unfinished if unfinished.is_empty() => {
                    unfinished.push(first);
                    continue;
                }
                Opened::Unfinished => {
                    return Err(LogError::Corrupt {
                        path: storage.path().join(segment::name(first)),
                        offset: 0,
                        position: first,
                        detail: "the file is empty or cut short, and a later segment follows".to_owned(),
                    });
                }
            };
            let torn = loop {
                match cursor.step()? {
                    Step::Frame(_) => {}
                    Step::End => break false,
                    Step::Bad(why) => match cursor.find_later_frame()? {
                        Some((offset, position)) => {
                            return Err(cursor.corrupt(format!(
                                "{why}, and a sound frame of position {position} follows at byte {offset}"
                            )));
                        }
                        None => break true,
                    },
                }
            };
            if let Some(&next) = unfinished.first() {
                // The segment before a new one was synced whole, up to the position that names the new one.
                if torn || cursor.expected() != next {
                    return Err(
                        cursor.corrupt(format!("it does not reach position {next}, where the next segment starts"))
                    );
                }
            }
            let (offset, end) = (cursor.offset(), cursor.expected());
            return Ok(Self {
                segment: Some((first, offset, cursor.salt())),
                unfinished,
                end,
                torn_bytes: cursor.file_len()?.saturating_sub(offset),
            });
        }
        Ok(Self { segment: None, unfinished, end: Position(0), torn_bytes: 0 })
    }
}

/// What the next writer cuts off the end of the log: a write, or the making of a segment, that was interrupted, and that
/// nobody was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// How many bytes of it go.
    pub bytes: u64,
}

impl Tail {
    /// What a writer would cut, if anything.
    ///
    /// # Errors
    /// A failed read.
    pub(crate) fn torn(&self, storage: &dyn Storage) -> Result<Option<TornTail>, LogError> {
        if let Some(first) = self.unfinished.first() {
            let name = segment::name(*first);
            let path = storage.path().join(&name);
            let bytes = storage.open_read(&name).and_then(|file| file.len());
            let bytes = bytes.map_err(|e| LogError::io("read", &path, e))?;
            return Ok(Some(TornTail { path, bytes }));
        }
        let Some((first, ..)) = self.segment.filter(|_| self.torn_bytes > 0) else { return Ok(None) };
        Ok(Some(TornTail { path: storage.path().join(segment::name(first)), bytes: self.torn_bytes }))
    }
}

/// Appends frames to the last segment, and makes new segments.
pub(crate) struct SegmentWriter {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    file: Box<dyn StorageFile>,
    path: PathBuf,
    salt: u64,
    len: u64,
    end: Position,
}

/// How an append failed.
pub(crate) enum AppendError {
    /// The log is as it was before, and can be written again.
    Refused(LogError),
    /// What is on disk is unknown.
    Fatal(LogError),
}

impl SegmentWriter {
    /// Cuts the torn end, makes everything that is kept durable, and stands ready to append.
    ///
    /// The sync matters: after a process was killed, its last frames may be in the page cache alone, and the next writer
    /// will vouch for them (a repeated event id is answered with the position of the first).
    pub(crate) fn resume(storage: Arc<dyn Storage>, tail: &Tail, segment_bytes: u64) -> Result<Self, LogError> {
        for first in &tail.unfinished {
            let name = segment::name(*first);
            storage.remove(&name).map_err(|e| LogError::io("remove", &storage.path().join(name), e))?;
        }
        let Some((first, len, salt)) = tail.segment else {
            return Self::create(storage, tail.end, segment_bytes);
        };
        let path = storage.path().join(segment::name(first));
        let file = storage.open(&segment::name(first)).map_err(|e| LogError::io("open", &path, e))?;
        if tail.torn_bytes > 0 {
            tracing::warn!(
                "cutting {} bytes of an interrupted write off {} (position {})",
                tail.torn_bytes,
                path.display(),
                tail.end
            );
            file.truncate(len).map_err(|e| LogError::io("truncate", &path, e))?;
        }
        file.sync().map_err(|e| LogError::io("sync", &path, e))?;
        storage.sync_names().map_err(|e| LogError::io("sync", storage.path(), e))?;
        Ok(Self { storage, segment_bytes, file, path, salt, len, end: tail.end })
    }

    /// A new segment that starts at `first`; durable when this returns.
    fn create(storage: Arc<dyn Storage>, first: Position, segment_bytes: u64) -> Result<Self, LogError> {
        let name = segment::name(first);
        let path = storage.path().join(&name);
        let salt = RandomState::new().hash_one(first.0);
        let header = SegmentHeader { version: VERSION, first, salt }.encode();
        let made = open_empty(&*storage, &name).and_then(|file| {
            file.write_all_at(&header, 0)?;
            file.sync()?;
            storage.sync_names()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self { storage, segment_bytes, file, path, salt, len: SEGMENT_HEADER as u64, end: first }),
            Err(e) => {
                // Left behind, it would be taken for an interrupted creation, which is what it is.
                storage.remove(&name).ok();
                Err(LogError::io("create", &path, e))
            }
        }
    }

    /// The position of the next record.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Writes one frame and syncs it. `frame` is [`FRAME_HEADER`] bytes for the header, to be filled in here, then the
    /// payload of `records` records.
    pub(crate) fn append(&mut self, frame: &mut [u8], records: u32) -> Result<(), AppendError> {
        if self.len >= self.segment_bytes && self.len > SEGMENT_HEADER as u64 {
            let next = Self::create(Arc::clone(&self.storage), self.end, self.segment_bytes);
            *self = next.map_err(AppendError::Refused)?;
        }
        let Some((head, payload)) = frame.split_at_mut_checked(FRAME_HEADER) else {
            return Ok(());
        };
        let header = FrameHeader::new(self.end, records, payload);
        head.copy_from_slice(&header.encode(self.salt));
        if let Err(error) = self.file.write_all_at(frame, self.len) {
            let error = LogError::io("write", &self.path, error);
            return Err(match self.file.truncate(self.len) {
                Ok(()) => AppendError::Refused(error),
                Err(e) => AppendError::Fatal(LogError::io("truncate", &self.path, e)),
            });
        }
        if let Err(error) = self.file.sync() {
            // The kernel may have dropped the unwritten pages and call them clean. Take the frame out of the cache, so
            // that a restart does not find what the disk does not have.
            self.file.truncate(self.len).ok();
            return Err(AppendError::Fatal(LogError::io("sync", &self.path, error)));
        }
        self.len += frame.len() as u64;
        self.end = header.end();
        Ok(())
    }
}

/// An empty file, also where a failed creation could not be cleaned up.
fn open_empty(storage: &dyn Storage, name: &str) -> io::Result<Box<dyn StorageFile>> {
    match storage.create(name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let file = storage.open(name)?;
            file.truncate(0)?;
            Ok(file)
        }
        made => made,
    }
}
