//! Rows of delimited text: any one-character separator with quotes, or the `::` of GroupLens' older files without.

use tastemaker_config::FileOptions;

use crate::columns::Columns;
use crate::lines::{LineStep, Lines};
use crate::row::{Cell, Row, Rows, Step};
use crate::well_known::{Kind, columns_by_place};
use crate::{ImportError, Refusal};

pub(crate) struct TextRows {
    lines: Lines,
    separator: Separator,
    names: Vec<String>,
    used: Vec<bool>,
    /// The values of a row one after the other, and where each ends.
    values: Vec<u8>,
    ends: Vec<usize>,
}

enum Separator {
    Byte { byte: u8, parser: Box<csv_core::Reader> },
    TwoColons,
}

impl Separator {
    fn byte(byte: u8) -> Self {
        Self::Byte { byte, parser: Box::new(csv_core::ReaderBuilder::new().delimiter(byte).build()) }
    }

    fn named(text: &str) -> Result<Self, ImportError> {
        match text.as_bytes() {
            b"::" => Ok(Self::TwoColons),
            [byte] if !b"\"\n\r".contains(byte) => Ok(Self::byte(*byte)),
            _ => Err(ImportError::Separator(text.to_owned())),
        }
    }

    /// The likeliest separator of a line.
    fn guessed(line: &[u8]) -> Self {
        if line.windows(2).any(|two| two == b"::") {
            return Self::TwoColons;
        }
        let found = [b'\t', b',', b';', b'|'].into_iter().find(|byte| line.contains(byte));
        Self::byte(found.unwrap_or(b','))
    }

    fn quoted_by(&self) -> Option<u8> {
        match self {
            Self::Byte { byte, .. } => Some(*byte),
            Self::TwoColons => None,
        }
    }
}

impl TextRows {
    /// Opens a file and finds out its separator and its columns, which `columns` then knows.
    pub(crate) fn open(
        lines: Lines,
        options: &FileOptions,
        kind: Kind,
        columns: &mut Columns,
    ) -> Result<Self, ImportError> {
        let mut rows = Self {
            lines,
            separator: Separator::byte(b','),
            names: Vec::new(),
            used: Vec::new(),
            values: Vec::new(),
            ends: Vec::new(),
        };
        if rows.lines.next(None)? == LineStep::End {
            return Ok(rows);
        }
        rows.separator = match &options.delimiter {
            Some(text) => Separator::named(text)?,
            None => Separator::guessed(rows.lines.line()),
        };
        rows.lines.again();
        let refused = match rows.lines.next(rows.separator.quoted_by())? {
            LineStep::Line => rows.split().err(),
            LineStep::Refused(refusal) => Some(refusal),
            LineStep::End => None,
        };
        let shown = String::from_utf8_lossy(rows.lines.line()).chars().take(80).collect::<String>();
        let unknown =
            || ImportError::Header { path: rows.lines.path().to_owned(), line: shown.clone(), kind: kind.first_key() };
        if refused.is_some() {
            return Err(unknown());
        }
        let first: Vec<String> = (0..rows.ends.len()).map(|index| rows.value(index).trim().to_owned()).collect();
        let by_place = columns.mapped_by_place();
        let header = options.header.unwrap_or_else(|| !by_place && first.iter().any(|name| columns.knows(name)));
        rows.names = if header {
            first
        } else if by_place {
            (1..=first.len()).map(|place| place.to_string()).collect()
        } else {
            let two_colons = matches!(rows.separator, Separator::TwoColons);
            columns_by_place(kind, &first, two_colons).ok_or_else(unknown)?
        };
        if !header {
            rows.lines.again();
        }
        columns.learn(&rows.names);
        columns.require(rows.lines.path())?;
        rows.used = columns.used();
        Ok(rows)
    }

    /// Cuts the line in `lines` into `values`.
    fn split(&mut self) -> Result<(), Refusal> {
        let line = self.lines.line();
        self.ends.clear();
        match &mut self.separator {
            Separator::TwoColons => {
                self.values.clear();
                let mut rest = line;
                while let Some(at) = rest.windows(2).position(|two| two == b"::") {
                    self.values.extend_from_slice(rest.get(..at).unwrap_or_default());
                    self.ends.push(self.values.len());
                    rest = rest.get(at + 2..).unwrap_or_default();
                }
                self.values.extend_from_slice(rest);
                self.ends.push(self.values.len());
            }
            Separator::Byte { byte, parser } => {
                let values = line.iter().filter(|b| *b == byte).count() + 1;
                self.values.resize(line.len() + 1, 0);
                self.ends.resize(values + 1, 0);
                parser.reset();
                let (_, _, _, ended) = parser.read_record(line, &mut self.values, &mut self.ends);
                // The last value ends with the line, which the parser learns from an empty input.
                let rest = self.ends.get_mut(ended..).unwrap_or_default();
                let (_, _, _, last) = parser.read_record(&[], &mut [], rest);
                self.ends.truncate(ended + last);
            }
        }
        let length = self.ends.last().copied().unwrap_or(0);
        self.values.truncate(length);
        if std::str::from_utf8(&self.values).is_err() {
            // MovieLens wrote these files before it wrote UTF-8.
            if matches!(self.separator, Separator::TwoColons) {
                self.read_as_latin_1();
                return Ok(());
            }
            let reason =
                "the row is not valid UTF-8; convert the file, such as with: iconv -f latin1 -t utf8".to_owned();
            return Err(self.lines.refused("not UTF-8", reason));
        }
        Ok(())
    }

    /// Makes UTF-8 of values in ISO 8859-1, whose bytes are the first 256 characters of Unicode.
    fn read_as_latin_1(&mut self) {
        let (mut text, mut start) = (String::with_capacity(self.values.len() * 2), 0);
        for end in &mut self.ends {
            text.extend(self.values.get(start..*end).unwrap_or_default().iter().map(|byte| char::from(*byte)));
            start = *end;
            *end = text.len();
        }
        self.values = text.into_bytes();
    }

    fn value(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0));
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.values.get(start..end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Rows for TextRows {
    fn next(&mut self) -> Result<Step<'_>, ImportError> {
        match self.lines.next(self.separator.quoted_by())? {
            LineStep::Line => {}
            LineStep::Refused(refusal) => return Ok(Step::Refused(refusal)),
            LineStep::End => return Ok(Step::End),
        }
        if let Err(refusal) = self.split() {
            return Ok(Step::Refused(refusal));
        }
        let (found, expected) = (self.ends.len(), self.names.len());
        if found != expected {
            let reason = format!("the row has {found} values, but there are {expected} columns");
            return Ok(Step::Refused(self.lines.refused("wrong number of values", reason)));
        }
        let used = self.used.iter().enumerate();
        let cells = used.map(|(index, used)| if *used { Cell::text(self.value(index)) } else { Cell::Empty }).collect();
        let (line, bytes) = (self.lines.number(), self.lines.line().len());
        Ok(Step::Row(Row { line, bytes, columns: &self.names, cells }))
    }

    fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }
}
