//! Lines of a text file, plain or gzip, each of limited length. A line of a file with quoted values may hold line breaks
//! of its own; one whose quote is never closed costs itself alone.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::{ImportError, Refusal};

/// The longest row, in bytes.
pub const MAX_ROW_BYTES: usize = 1 << 20;
/// The most lines that one quoted value may go over.
const MAX_LINES_IN_QUOTES: usize = 1_000;

const BUFFER: usize = 256 << 10;

/// Counts the bytes that go through it: of the file, before decompression.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What was read into the buffer of [`Lines`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineStep {
    /// A line, without its end.
    Line,
    /// A line that is refused.
    Refused(Refusal),
    End,
}

pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    bytes: Arc<AtomicU64>,
    /// Lines that were read ahead and given back.
    ahead: VecDeque<Vec<u8>>,
    /// The number of the line in `buffer`, or of the first of its lines.
    number: u64,
    /// The lines that `buffer` holds.
    height: u64,
    buffer: Vec<u8>,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, ImportError> {
        let file = std::fs::File::open(path).map_err(|source| ImportError::Open { path: path.to_owned(), source })?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: file, bytes: Arc::clone(&bytes) };
        let zipped = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let input: Box<dyn BufRead + Send> = if zipped {
            let decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, counted));
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        } else {
            Box::new(BufReader::with_capacity(BUFFER, counted))
        };
        Ok(Self {
            path: path.to_owned(),
            input,
            bytes,
            ahead: VecDeque::new(),
            number: 0,
            height: 1,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The line that was read last.
    pub(crate) fn line(&self) -> &[u8] {
        &self.buffer
    }

    /// Its number, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Gives the last line back, to be read again.
    pub(crate) fn again(&mut self) {
        self.ahead.push_front(std::mem::take(&mut self.buffer));
        self.number -= 1;
        self.height = 1;
    }

    /// Reads the next line. With `quoted_by`, the separator of a file with quoted values, a line goes on while a quote is
    /// open. Empty lines are passed over.
    pub(crate) fn next(&mut self, quoted_by: Option<u8>) -> Result<LineStep, ImportError> {
        loop {
            self.number += self.height;
            self.height = 1;
            let mut line = std::mem::take(&mut self.buffer);
            let read = self.physical(&mut line)?;
            self.buffer = line;
            match read {
                None => return Ok(LineStep::End),
                Some(false) => return Ok(LineStep::Refused(self.refused("row too long", too_long()))),
                Some(true) if self.buffer.is_empty() => {}
                Some(true) => break,
            }
        }
        match quoted_by {
            Some(separator) if self.buffer.contains(&b'"') && inside_quotes(&self.buffer, separator, false) => {
                self.continue_quoted(separator)
            }
            _ => Ok(LineStep::Line),
        }
    }

    /// Adds lines to the buffer until the open quote closes; gives them back if it does not.
    fn continue_quoted(&mut self, separator: u8) -> Result<LineStep, ImportError> {
        let mut more: Vec<Vec<u8>> = Vec::new();
        let mut length = self.buffer.len();
        let closed = loop {
            let mut line = Vec::new();
            match self.physical(&mut line)? {
                Some(true) => {}
                Some(false) | None => break false,
            }
            length += 1 + line.len();
            let open = inside_quotes(&line, separator, true);
            more.push(line);
            if !open {
                break length <= MAX_ROW_BYTES;
            }
            if length > MAX_ROW_BYTES || more.len() >= MAX_LINES_IN_QUOTES {
                break false;
            }
        };
        if closed {
            self.height += more.len() as u64;
            for line in more {
                self.buffer.push(b'\n');
                self.buffer.extend_from_slice(&line);
            }
            return Ok(LineStep::Line);
        }
        for line in more.into_iter().rev() {
            self.ahead.push_front(line);
        }
        let reason = format!(
            "a quote opens a value and is not closed within {MAX_LINES_IN_QUOTES} lines; write \"\" for a quote inside one"
        );
        Ok(LineStep::Refused(self.refused("quote not closed", reason)))
    }

    pub(crate) fn refused(&self, kind: &'static str, reason: String) -> Refusal {
        Refusal { line: self.number, column: None, kind, reason }
    }

    /// One line as it lies in the file, without its end. `None` at the end of the file, `Some(false)` for one that is too
    /// long and was passed over.
    fn physical(&mut self, line: &mut Vec<u8>) -> Result<Option<bool>, ImportError> {
        line.clear();
        if let Some(known) = self.ahead.pop_front() {
            *line = known;
            return Ok(Some(true));
        }
        let (mut any, mut fits) = (false, true);
        loop {
            let number = self.number;
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let line = number.saturating_sub(1);
                    return Err(ImportError::Read { path: self.path.clone(), line, source });
                }
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            fits = fits && line.len() + part.len() <= MAX_ROW_BYTES;
            if fits {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.number == 1 && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        Ok(any.then_some(fits))
    }
}

fn too_long() -> String {
    format!("the row is longer than {} KiB", MAX_ROW_BYTES >> 10)
}

/// Whether a quoted value is still open after `line`, which starts inside one or not. A quote opens a value only as its
/// first character.
fn inside_quotes(line: &[u8], separator: u8, inside: bool) -> bool {
    let (mut inside, mut at_start) = (inside, !inside);
    let mut bytes = line.iter().peekable();
    while let Some(&byte) = bytes.next() {
        match (inside, byte) {
            (true, b'"') if bytes.peek() == Some(&&b'"') => {
                bytes.next();
            }
            (true, b'"') => inside = false,
            (true, _) => {}
            (false, b'"') if at_start => inside = true,
            (false, _) => at_start = byte == separator,
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], quoted_by: Option<u8>) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut found = Vec::new();
        loop {
            match lines.next(quoted_by).unwrap() {
                LineStep::Line => found.push((lines.number(), String::from_utf8_lossy(lines.line()).into_owned())),
                LineStep::Refused(refusal) => found.push((refusal.line, format!("!{}", refusal.kind))),
                LineStep::End => return found,
            }
        }
    }

    fn expect(bytes: &[u8], expected: &[(u64, &str)]) {
        let found = lines(bytes, Some(b','));
        let expected: Vec<_> = expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_end_in_any_way_and_empty_ones_are_passed_over() {
        expect(b"", &[]);
        expect(b"\xEF\xBB\xBFa\r\nb\n\n\r\nc", &[(1, "a"), (2, "b"), (5, "c")]);
    }

    #[test]
    fn a_quoted_value_may_hold_line_breaks() {
        expect(b"1,\"a\r\nb\",2\n3,\"\"\"\n\",4\n5", &[(1, "1,\"a\nb\",2"), (3, "3,\"\"\"\n\",4"), (5, "5")]);
    }

    #[test]
    fn a_quote_inside_a_plain_value_opens_nothing() {
        expect(b"1,5\" pipe\n2,x\n", &[(1, "1,5\" pipe"), (2, "2,x")]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        expect(b"a\n1,\"open\n2,x\n3,y\n", &[(1, "a"), (2, "!quote not closed"), (3, "2,x"), (4, "3,y")]);
        let many = [b"1,\"open\n".to_vec(), b"2,x\n".repeat(5_000)].concat();
        let found = lines(&many, Some(b','));
        assert_eq!((found.len(), found[0].1.as_str(), found[5_000].0), (5_001, "!quote not closed", 5_001));
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_next_is_read() {
        let long = [b"a\n".to_vec(), vec![b'x'; 3 * MAX_ROW_BYTES], b"\nb\n".to_vec()].concat();
        expect(&long, &[(1, "a"), (2, "!row too long"), (3, "b")]);
    }
}
