//! Events that come by day, into Parquet files: a folder for each day, a new file after so many rows.

use std::path::PathBuf;

use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tastemaker_types::{Event, Position};

use super::{ExportError, ExportReport};
use crate::batches::EventBatch;

const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes events; those of one day must come together.
pub(crate) struct PartWriter {
    dir: PathBuf,
    part_rows: usize,
    properties: WriterProperties,
    date: String,
    /// The open file, its number within the day, and its rows.
    part: Option<(ArrowWriter<fs::File>, usize)>,
    next_part: usize,
    batch: EventBatch,
    report: ExportReport,
}

impl PartWriter {
    pub(crate) fn new(dir: PathBuf, part_rows: usize) -> Result<Self, ExportError> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tastemaker ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_column_dictionary_enabled(ColumnPath::from("event_id"), false)
            .build();
        let batch = EventBatch::new(None).map_err(ParquetError::from)?;
        let report = ExportReport::default();
        let part_rows = part_rows.max(1);
        Ok(Self { dir, part_rows, properties, date: String::new(), part: None, next_part: 0, batch, report })
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.report.events
    }

    /// Adds one event, whose record has `bytes` bytes.
    pub(crate) fn push(&mut self, position: Position, event: Event, bytes: usize) -> Result<(), ExportError> {
        let date = event.timestamp.utc_date();
        if date != self.date {
            self.close_part()?;
            fs::create_dir(self.dir.join(format!("date={date}")))?;
            self.date = date;
            self.next_part = 0;
            self.report.days += 1;
        }
        self.batch.push(position, event, bytes);
        self.report.events += 1;
        if self.batch.is_full() || self.batch.rows() >= self.part_rows {
            self.write_batch()?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<ExportReport, ExportError> {
        self.close_part()?;
        Ok(self.report)
    }

    fn write_batch(&mut self) -> Result<(), ExportError> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        let batch = self.batch.take().map_err(ParquetError::from)?;
        let (writer, written) = match &mut self.part {
            Some(part) => part,
            None => {
                let name = format!("part-{:05}.parquet", self.next_part);
                let file = fs::File::create(self.dir.join(format!("date={}", self.date)).join(name))?;
                let writer = ArrowWriter::try_new(file, batch.schema(), Some(self.properties.clone()))?;
                self.next_part += 1;
                self.part.insert((writer, 0))
            }
        };
        writer.write(&batch)?;
        *written += batch.num_rows();
        if *written >= self.part_rows {
            self.close_file()?;
        }
        Ok(())
    }

    fn close_part(&mut self) -> Result<(), ExportError> {
        self.write_batch()?;
        self.close_file()
    }

    fn close_file(&mut self) -> Result<(), ExportError> {
        if let Some((writer, _)) = self.part.take() {
            let file = writer.into_inner()?;
            file.sync_all()?;
            self.report.files += 1;
            self.report.bytes += file.metadata()?.len();
        }
        Ok(())
    }
}
