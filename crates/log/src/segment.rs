//! Segment files by name, and walking the frames of one. What a bad frame means (a torn end or damage) is judged here too,
//! for the writer's recovery and for readers alike.

use std::path::PathBuf;

use tastemaker_types::Position;

use crate::LogError;
use crate::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, VERSION, find_frame_magic};
use crate::storage::{Storage, StorageFile};

/// Bytes read from a file at once; larger frames are read whole.
const CHUNK: usize = 1 << 20;

/// The file name of the segment that starts at `first`.
pub(crate) fn name(first: Position) -> String {
    format!("{first:0>20}.log", first = first.0)
}

/// The first positions of all segments, in order. Files with other names are not ours to judge.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<Position>, LogError> {
    let names = storage.list().map_err(|e| LogError::io("list", storage.path(), e))?;
    let mut segments: Vec<Position> = names.iter().filter_map(|file| parse_name(file)).collect();
    segments.sort_unstable();
    Ok(segments)
}

fn parse_name(file: &str) -> Option<Position> {
    let digits = file.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok().map(Position))?
}

/// What is at the front of a segment file.
pub(crate) enum Opened {
    /// A sound header; the cursor stands before the first frame.
    Whole(Cursor),
    /// Not a whole header, in a file that has nothing after it: its creation was interrupted.
    Unfinished,
}

/// Walks the frames of one segment.
pub(crate) struct Cursor {
    file: Box<dyn StorageFile>,
    path: PathBuf,
    first: Position,
    salt: u64,
    /// Where the next frame starts.
    offset: u64,
    /// The position that its first record must have.
    expected: Position,
    /// File content from `offset` on, as far as it was read.
    buffer: Vec<u8>,
    consumed: usize,
}

/// What a step of a [`Cursor`] found.
pub(crate) enum Step {
    /// A sound frame; [`Cursor::payload`] has its records until the next step.
    Frame(FrameHeader),
    /// The exact end of the file.
    End,
    /// Bytes that are not the expected frame; the cursor has not moved.
    Bad(&'static str),
}

impl Cursor {
    /// Opens the segment that starts at `first`.
    ///
    /// # Errors
    /// A damaged header with frames after it, a newer format, or a failed read.
    pub(crate) fn open(storage: &dyn Storage, first: Position) -> Result<Opened, LogError> {
        let file_name = name(first);
        let path = storage.path().join(&file_name);
        let file = storage.open_read(&file_name).map_err(|e| LogError::io("open", &path, e))?;
        let mut bytes = [0; SEGMENT_HEADER];
        let read = file.read_full_at(&mut bytes, 0).map_err(|e| LogError::io("read", &path, e))?;
        let corrupt = |detail: String| LogError::Corrupt { path: path.clone(), offset: 0, position: first, detail };
        let header = match SegmentHeader::decode(bytes.get(..read).unwrap_or_default()) {
            Some(header) => header,
            None if file.len().map_err(|e| LogError::io("read", &path, e))? <= SEGMENT_HEADER as u64 => {
                return Ok(Opened::Unfinished);
            }
            None => return Err(corrupt("the header of the file is damaged".to_owned())),
        };
        if header.version > VERSION {
            return Err(LogError::NewerFormat { path, version: header.version, supported: VERSION });
        }
        if header.first != first {
            return Err(corrupt(format!("the file is named for position {first}, but starts at {}", header.first)));
        }
        Ok(Opened::Whole(Self {
            file,
            path,
            first,
            salt: header.salt,
            offset: SEGMENT_HEADER as u64,
            expected: first,
            buffer: Vec::new(),
            consumed: 0,
        }))
    }

    /// The position that the segment is named for.
    pub(crate) fn first(&self) -> Position {
        self.first
    }

    /// Where the next frame starts or would start.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The position after the last frame that was walked.
    pub(crate) fn expected(&self) -> Position {
        self.expected
    }

    /// The length of the file now.
    pub(crate) fn file_len(&self) -> Result<u64, LogError> {
        self.file.len().map_err(|e| LogError::io("read", &self.path, e))
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// The records of the frame that the last step found.
    pub(crate) fn payload(&self, frame: &FrameHeader) -> &[u8] {
        let start = self.consumed.saturating_sub(frame.payload_bytes as usize);
        self.buffer.get(start..self.consumed).unwrap_or_default()
    }

    /// Steps over the next frame. After a [`Step::Bad`] or [`Step::End`] the file is read anew, so that a step can be
    /// tried again while a writer goes on.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        let step = self.try_step()?;
        if !matches!(step, Step::Frame(_)) {
            self.buffer.clear();
            self.consumed = 0;
        }
        Ok(step)
    }

    fn try_step(&mut self) -> Result<Step, LogError> {
        let available = self.fill(FRAME_HEADER)?;
        if available == 0 {
            return Ok(Step::End);
        }
        if available < FRAME_HEADER {
            return Ok(Step::Bad("the header of a frame is cut short"));
        }
        let Some(header) = FrameHeader::decode(self.unread(), self.salt) else {
            return Ok(Step::Bad("the header of a frame is damaged"));
        };
        if header.first != self.expected {
            return Ok(Step::Bad("a frame has another position than the one before it promises"));
        }
        let whole = FRAME_HEADER + header.payload_bytes as usize;
        if self.fill(whole)? < whole {
            return Ok(Step::Bad("a frame is cut short"));
        }
        if !header.matches(self.unread().get(FRAME_HEADER..whole).unwrap_or_default()) {
            return Ok(Step::Bad("the checksum of a frame does not match its records"));
        }
        self.consumed += whole;
        self.offset += whole as u64;
        self.expected = header.end();
        Ok(Step::Frame(header))
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    /// Makes sure that `wanted` unread bytes are in the buffer, as far as the file has them; returns how many there are.
    fn fill(&mut self, wanted: usize) -> Result<usize, LogError> {
        let have = self.buffer.len() - self.consumed;
        if have >= wanted {
            return Ok(have);
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.resize(wanted.max(CHUNK), 0);
        let target = self.buffer.get_mut(have..).unwrap_or_default();
        let read = self
            .file
            .read_full_at(target, self.offset + have as u64)
            .map_err(|e| LogError::io("read", &self.path, e))?;
        self.buffer.truncate(have + read);
        Ok(self.buffer.len())
    }

    /// Looks for a sound frame of a later position anywhere after the current offset. A torn write has none: a frame is
    /// written only after the one before it was synced.
    pub(crate) fn find_later_frame(&self) -> Result<Option<(u64, Position)>, LogError> {
        let mut window = vec![0; CHUNK + FRAME_HEADER];
        let mut start = self.offset + 1;
        loop {
            let read = self.read(&mut window, start)?;
            let mut at = 0;
            while let Some(found) = find_frame_magic(window.get(at..read).unwrap_or_default()) {
                at += found;
                if let Some(header) = FrameHeader::decode(window.get(at..read).unwrap_or_default(), self.salt)
                    && header.first > self.expected
                {
                    let mut payload = vec![0; header.payload_bytes as usize];
                    let offset = start + at as u64;
                    let read = self.read(&mut payload, offset + FRAME_HEADER as u64)?;
                    if header.matches(payload.get(..read).unwrap_or_default()) {
                        return Ok(Some((offset, header.first)));
                    }
                }
                at += 1;
            }
            if read < window.len() {
                return Ok(None);
            }
            start += CHUNK as u64;
        }
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> Result<usize, LogError> {
        self.file.read_full_at(buf, offset).map_err(|e| LogError::io("read", &self.path, e))
    }

    /// The error for a frame whose checksum is right but whose records cannot be read.
    pub(crate) fn unreadable(&self, frame: &FrameHeader, position: Position, detail: String) -> LogError {
        let bytes = (FRAME_HEADER + frame.payload_bytes as usize) as u64;
        LogError::Corrupt { path: self.path.clone(), offset: self.offset.saturating_sub(bytes), position, detail }
    }

    /// The error for damage at the current offset.
    pub(crate) fn corrupt(&self, detail: impl Into<String>) -> LogError {
        LogError::Corrupt {
            path: self.path.clone(),
            offset: self.offset,
            position: self.expected,
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_like_positions_and_strangers_are_left_alone() {
        assert_eq!(name(Position(42)), "00000000000000000042.log");
        assert_eq!(parse_name(&name(Position(u64::MAX))), Some(Position(u64::MAX)));
        for stranger in ["lock", "ids", "42.log", "0000000000000000004x.log", "00000000000000000042.log.bak", ""] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }
}
