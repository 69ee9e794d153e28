//! Files of events, items and users to log records: CSV and its kin, JSON lines and Parquet, read as a stream, with a
//! report of every row that was refused. Nothing here writes to the log or shows progress; the caller does.

mod coerce;
mod columns;
mod entities;
mod error;
mod events;
mod json;
mod lines;
mod parquet;
mod report;
mod row;
mod text;
mod well_known;

use std::path::Path;
use std::time::Instant;

use tastemaker_config::{Config, FileFormat, FileOptions};
use tastemaker_types::{Record, Timestamp};

use crate::columns::Columns;
use crate::entities::EntityMaker;
use crate::events::{EventMaker, Refused};
use crate::json::JsonRows;
use crate::lines::Lines;
use crate::parquet::ParquetRows;
use crate::row::{Row, Rows, Step};
use crate::text::TextRows;

pub use error::{ImportError, Refusal};
pub use lines::MAX_ROW_BYTES;
pub use report::{MAX_QUOTED_REFUSALS, Report};
pub use well_known::Kind;

/// Records in a batch, unless their size is above [`BATCH_BYTES`].
const BATCH_RECORDS: usize = 1_000;
/// Rows read for a batch, so that a caller hears of progress even where all are refused.
const BATCH_ROWS: usize = 10_000;
/// Bytes of rows in a batch.
const BATCH_BYTES: usize = 4 << 20;

/// Ignored columns that a notice names.
const MAX_NAMED: usize = 20;

/// How far an import is, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file read, before decompression.
    pub bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// Rows read.
    pub rows: u64,
}

/// An open file on its way to records: an iterator over batches. After its end, or an error, [`Import::into_report`]
/// tells what happened.
///
/// Events without an id of their own get one made from their content, so that importing a file again gives the same ids.
pub struct Import {
    rows: Box<dyn Rows + Send>,
    columns: Columns,
    maker: Maker,
    report: Report,
    started: Instant,
    total_bytes: u64,
    /// How reading ended, once the rows before are handed out.
    ended: Option<Result<(), ImportError>>,
    done: bool,
}

enum Maker {
    Events(Box<EventMaker>),
    Entities(EntityMaker),
}

impl Maker {
    fn record(&mut self, row: Row<'_>, columns: &Columns) -> Result<Record, Refused> {
        match self {
            Self::Events(maker) => maker.record(row, columns),
            Self::Entities(maker) => maker.record(row, columns),
        }
    }
}

impl Import {
    /// Opens a file. How its columns are read is in `config.import`; what is not said there is told by the file itself.
    ///
    /// # Errors
    /// [`ImportError`] if it cannot be opened, is of no known format, or lacks a column that every row needs.
    pub fn open(path: &Path, kind: Kind, config: &Config) -> Result<Self, ImportError> {
        let (maker, mut columns) = match kind {
            Kind::Events => {
                let (maker, columns) = EventMaker::new(config);
                (Maker::Events(Box::new(maker)), columns)
            }
            Kind::Items | Kind::Users => {
                let (maker, columns) = EntityMaker::new(kind, config, Timestamp::now());
                (Maker::Entities(maker), columns)
            }
        };
        let options = match kind {
            Kind::Events => &config.import.events.file,
            Kind::Items => &config.import.items.file,
            Kind::Users => &config.import.users.file,
        };
        let rows: Box<dyn Rows + Send> = match format(path, kind, options)? {
            FileFormat::Csv => Box::new(TextRows::open(Lines::open(path)?, options, kind, &mut columns)?),
            FileFormat::Jsonl => Box::new(JsonRows::new(Lines::open(path)?)),
            FileFormat::Parquet => Box::new(ParquetRows::open(path, &mut columns)?),
        };
        let total_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(Self {
            rows,
            columns,
            maker,
            report: Report::default(),
            started: Instant::now(),
            total_bytes,
            ended: None,
            done: false,
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { bytes: self.rows.bytes_read(), total_bytes: self.total_bytes, rows: self.report.rows }
    }

    /// What was read, taken and refused.
    pub fn into_report(mut self) -> Report {
        self.finish();
        self.report
    }

    fn finish(&mut self) {
        if self.done {
            return;
        }
        self.done = true;
        self.report.took(self.started.elapsed(), self.rows.bytes_read());
        if let Maker::Events(maker) = &self.maker
            && self.report.rows > 0
        {
            self.report.notices.extend(maker.notice(&self.columns));
        }
        let unused = self.columns.unused();
        if !unused.is_empty() {
            let more = unused.len().saturating_sub(MAX_NAMED);
            let named = unused.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            self.report.notices.push(format!("columns that the project does not declare were ignored: {named}{more}"));
        }
    }

    /// The next records; fewer than a batch at the end of the file, or where it breaks off.
    fn batch(&mut self) -> Vec<Record> {
        let (mut records, mut bytes) = (Vec::with_capacity(BATCH_RECORDS), 0);
        for _ in 0..BATCH_ROWS {
            if records.len() == BATCH_RECORDS || bytes >= BATCH_BYTES {
                break;
            }
            match self.rows.next() {
                Err(error) => {
                    self.ended = Some(Err(error));
                    break;
                }
                Ok(Step::End) => {
                    self.ended = Some(Ok(()));
                    break;
                }
                Ok(Step::Refused(refusal)) => self.report.refuse(refusal),
                Ok(Step::Row(row)) => {
                    self.columns.learn(row.columns);
                    let line = row.line;
                    bytes += row.bytes;
                    match self.maker.record(row, &self.columns) {
                        Ok(record) => {
                            self.report.accept();
                            records.push(record);
                        }
                        Err((slot, mistake)) => {
                            let column = slot.map(|slot| self.columns.name(slot).to_owned());
                            self.report.refuse(Refusal { line, column, kind: mistake.kind, reason: mistake.reason });
                        }
                    }
                }
            }
        }
        records
    }
}

impl Iterator for Import {
    /// Records in the order of the file; none where a long stretch of rows was refused.
    type Item = Result<Vec<Record>, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.ended.is_none() {
            let records = self.batch();
            if !records.is_empty() || self.ended.is_none() {
                return Some(Ok(records));
            }
        }
        self.finish();
        self.ended.take().and_then(Result::err).map(Err)
    }
}

fn format(path: &Path, kind: Kind, options: &FileOptions) -> Result<FileFormat, ImportError> {
    if let Some(format) = options.format {
        return Ok(format);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv" | "tsv" | "dat" | "data" | "txt") => Ok(FileFormat::Csv),
        Some("jsonl" | "ndjson" | "json") => Ok(FileFormat::Jsonl),
        Some("parquet" | "pq") => Ok(FileFormat::Parquet),
        _ => Err(ImportError::Format { path: path.to_owned(), kind: kind.section() }),
    }
}
