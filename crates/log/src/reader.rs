//! Reading the log in order, from any process, while a writer may be at work. A reader takes no lock and writes nothing. It
//! may see records that are written but not yet synced or acknowledged; it never sees part of a call.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tastemaker_types::{Position, Record};

use crate::segment::{self, Cursor, Opened, Step};
use crate::storage::{Folder, Storage};
use crate::writer::{Tail, TornTail};
use crate::{LogError, wire};

/// A view of an event log that only reads.
#[derive(Clone)]
pub struct LogReader {
    storage: Arc<dyn Storage>,
}

impl LogReader {
    /// Opens the log in `dir`, whether or not a writer has it open.
    ///
    /// # Errors
    /// [`LogError::NotFound`] if there is no such folder.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LogError> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(LogError::NotFound { dir: dir.to_owned() });
        }
        Ok(Self::with_storage(Arc::new(Folder::new(dir))))
    }

    pub(crate) fn with_storage(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// All records from `position` on, in order. The iterator ends at the end of the log as it is then; asking it again later
    /// goes on with what was written since. After an error it stays ended.
    pub fn read_from(&self, position: Position) -> Records {
        Records { frames: self.frames(position), wanted: position, events: true, ready: VecDeque::new(), failed: false }
    }

    /// The frames from the start of the segment that holds `position`.
    pub(crate) fn frames(&self, position: Position) -> Frames {
        Frames::new(Arc::clone(&self.storage), position)
    }

    /// What the next writer would cut off the end, if anything. While a writer is at work, it may be what that is writing.
    ///
    /// # Errors
    /// Damage in the last segment, or a failed read.
    pub fn torn_tail(&self) -> Result<Option<TornTail>, LogError> {
        Tail::find(&*self.storage)?.torn(&*self.storage)
    }

    /// The position after the last record of the log as it is now; 0 if it is empty.
    ///
    /// # Errors
    /// Damage in the last segment, or a failed read.
    pub fn end(&self) -> Result<Position, LogError> {
        let Some(last) = segment::list(&*self.storage)?.pop() else {
            return Ok(Position(0));
        };
        let mut frames = self.frames(last);
        while frames.advance()? {}
        Ok(frames.cursor.map_or(last, |(cursor, _)| cursor.expected()))
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("dir", &self.storage.path()).finish()
    }
}

/// Records in log order; see [`LogReader::read_from`].
pub struct Records {
    frames: Frames,
    /// Where to start.
    wanted: Position,
    events: bool,
    ready: VecDeque<(Position, Record)>,
    failed: bool,
}

impl Iterator for Records {
    type Item = Result<(Position, Record), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        while self.ready.is_empty() {
            match self.decode_frame() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl Records {
    /// Leaves out the events, without decoding them: the upserts, deletions and answers among them are found faster.
    pub fn without_events(mut self) -> Self {
        self.events = false;
        self
    }

    /// Decodes the wanted records of the next frame; false at the end of the log.
    fn decode_frame(&mut self) -> Result<bool, LogError> {
        let Self { frames, wanted, events, ready, .. } = self;
        frames.next(|position, bytes| {
            if position >= *wanted && (*events || !wire::is_event(bytes)) {
                ready.push_back((position, wire::decode(bytes)?));
            }
            Ok(())
        })
    }
}

/// The frames of a log in order, across segments: what [`Records`] and recovery share.
pub(crate) struct Frames {
    storage: Arc<dyn Storage>,
    /// Where to start: the segment that holds this position.
    from: Position,
    /// The current segment, and the frame that its last step found.
    cursor: Option<(Cursor, Option<crate::format::FrameHeader>)>,
}

impl Frames {
    pub(crate) fn new(storage: Arc<dyn Storage>, from: Position) -> Self {
        Self { storage, from, cursor: None }
    }

    /// Gives every record of the next frame to `visit`, undecoded; false at the end of the log.
    pub(crate) fn next(
        &mut self,
        mut visit: impl FnMut(Position, &[u8]) -> Result<(), String>,
    ) -> Result<bool, LogError> {
        if !self.advance()? {
            return Ok(false);
        }
        let Some((cursor, Some(frame))) = &self.cursor else {
            return Ok(false);
        };
        let mut payload = cursor.payload(frame);
        let mut position = frame.first;
        while !payload.is_empty() {
            let visited = wire::split_first(&mut payload).and_then(|record| visit(position, record));
            visited.map_err(|detail| cursor.unreadable(frame, position, detail))?;
            position = position.next();
        }
        if position != frame.end() {
            return Err(cursor.unreadable(frame, position, "its frame promises more records".to_owned()));
        }
        Ok(true)
    }

    /// Steps to the next frame; false at the end of the log. A torn end is an end, damage is an error.
    fn advance(&mut self) -> Result<bool, LogError> {
        loop {
            let Some((cursor, current)) = &mut self.cursor else {
                if self.open_first()? {
                    continue;
                }
                return Ok(false);
            };
            *current = match cursor.step()? {
                Step::Frame(frame) => Some(frame),
                // A writer seals a segment before it makes the next: look whether there is one, then look again here,
                // so that nothing that was written in between is missed.
                Step::End | Step::Bad(_) => {
                    let expected = cursor.expected();
                    let successor = segment::list(&*self.storage)?
                        .into_iter()
                        .find(|first| *first >= expected && *first > cursor.first());
                    let later = cursor.find_later_frame()?;
                    match (cursor.step()?, successor, later) {
                        (Step::Frame(frame), ..) => Some(frame),
                        (Step::End, None, _) | (Step::Bad(_), None, None) => return Ok(false),
                        (Step::End, Some(first), _) if first == expected => {
                            let Some(next) = self.open_segment(first)? else {
                                return Ok(false);
                            };
                            self.cursor = Some((next, None));
                            continue;
                        }
                        (Step::End, Some(found), _) => {
                            return Err(LogError::MissingSegment {
                                dir: self.storage.path().to_owned(),
                                expected,
                                found,
                            });
                        }
                        (Step::Bad(why), _, Some((offset, position))) => {
                            return Err(cursor.corrupt(format!(
                                "{why}, and a sound frame of position {position} follows at byte {offset}"
                            )));
                        }
                        (Step::Bad(why), Some(first), None) => {
                            return Err(cursor
                                .corrupt(format!("{why}, and the log goes on in the segment of position {first}")));
                        }
                    }
                }
            };
            return Ok(true);
        }
    }

    /// Opens the segment that holds the first wanted position, and passes the frames before it. False if there is nothing to
    /// read.
    fn open_first(&mut self) -> Result<bool, LogError> {
        let segments = segment::list(&*self.storage)?;
        let Some(first) = segments.iter().rev().find(|first| **first <= self.from).or(segments.first()).copied() else {
            return Ok(false);
        };
        if first > self.from {
            return Err(LogError::MissingSegment {
                dir: self.storage.path().to_owned(),
                expected: self.from,
                found: first,
            });
        }
        self.cursor = self.open_segment(first)?.map(|cursor| (cursor, None));
        Ok(self.cursor.is_some())
    }

    /// `None` if the segment is just being made, which only the last one can be.
    fn open_segment(&self, first: Position) -> Result<Option<Cursor>, LogError> {
        if let Opened::Whole(cursor) = Cursor::open(&*self.storage, first)? {
            return Ok(Some(cursor));
        }
        let is_last = segment::list(&*self.storage)?.last() == Some(&first);
        match Cursor::open(&*self.storage, first)? {
            Opened::Whole(cursor) => Ok(Some(cursor)),
            Opened::Unfinished if is_last => Ok(None),
            Opened::Unfinished => Err(LogError::Corrupt {
                path: self.storage.path().join(segment::name(first)),
                offset: 0,
                position: first,
                detail: "the file is empty or cut short, and later segments follow".to_owned(),
            }),
        }
    }
}
