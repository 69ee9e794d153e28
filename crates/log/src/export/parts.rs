//! Events that come by day, into Parquet files: a folder for each day, a new file after so many rows.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tastemaker_types::{Event, Position};

use super::{ExportError, ExportReport};

const BATCH_ROWS: usize = 8_192;
/// Properties may be long: a batch ends early when its text is this large.
const BATCH_BYTES: usize = 16 << 20;
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes events; those of one day must come together.
pub(crate) struct PartWriter {
    dir: PathBuf,
    part_rows: usize,
    schema: SchemaRef,
    properties: WriterProperties,
    date: String,
    /// The open file, its number within the day, and its rows.
    part: Option<(ArrowWriter<fs::File>, usize)>,
    next_part: usize,
    batch: Batch,
    report: ExportReport,
}

impl PartWriter {
    pub(crate) fn new(dir: PathBuf, part_rows: usize) -> Self {
        let schema = schema();
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tastemaker ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_column_dictionary_enabled(ColumnPath::from("event_id"), false)
            .build();
        let batch = Batch::default();
        let report = ExportReport::default();
        let part_rows = part_rows.max(1);
        Self { dir, part_rows, schema, properties, date: String::new(), part: None, next_part: 0, batch, report }
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.report.events
    }

    pub(crate) fn push(&mut self, position: Position, event: &Event) -> Result<(), ExportError> {
        let date = event.timestamp.utc_date();
        if date != self.date {
            self.close_part()?;
            fs::create_dir(self.dir.join(format!("date={date}")))?;
            self.date = date;
            self.next_part = 0;
            self.report.days += 1;
        }
        self.batch.push(position, event)?;
        self.report.events += 1;
        if self.batch.rows >= BATCH_ROWS.min(self.part_rows) || self.batch.bytes >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<ExportReport, ExportError> {
        self.close_part()?;
        Ok(self.report)
    }

    fn write_batch(&mut self) -> Result<(), ExportError> {
        if self.batch.rows == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let rows = batch.rows;
        let batch = batch.finish(&self.schema)?;
        let (writer, written) = match &mut self.part {
            Some(part) => part,
            None => {
                let name = format!("part-{:05}.parquet", self.next_part);
                let file = fs::File::create(self.dir.join(format!("date={}", self.date)).join(name))?;
                let writer = ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(self.properties.clone()))?;
                self.next_part += 1;
                self.part.insert((writer, 0))
            }
        };
        writer.write(&batch)?;
        *written += rows;
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

fn schema() -> SchemaRef {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("event_id", false),
        text("type", false),
        text("user_id", false),
        text("item_id", false),
        Field::new("timestamp", utc, false),
        Field::new("value", DataType::Float64, true),
        text("session_id", true),
        text("request_id", true),
        text("properties", true),
        // Signed, because Spark has no unsigned integers.
        Field::new("position", DataType::Int64, false),
    ]))
}

/// Rows that are not written yet, column by column in the order of [`schema`].
#[derive(Default)]
struct Batch {
    rows: usize,
    bytes: usize,
    event_id: StringBuilder,
    event_type: StringBuilder,
    user_id: StringBuilder,
    item_id: StringBuilder,
    timestamp: TimestampMicrosecondBuilder,
    value: Float64Builder,
    session_id: StringBuilder,
    request_id: StringBuilder,
    properties: StringBuilder,
    position: Int64Builder,
}

impl Batch {
    fn push(&mut self, position: Position, event: &Event) -> Result<(), ExportError> {
        let properties = if event.properties.is_empty() {
            None
        } else {
            let json = serde_json::to_string(&event.properties);
            Some(json.map_err(|e| ExportError::Record { position, detail: e.to_string() })?)
        };
        self.event_id.append_value(&event.event_id);
        self.event_type.append_value(&event.event_type);
        self.user_id.append_value(&event.user_id);
        self.item_id.append_value(&event.item_id);
        self.timestamp.append_value(event.timestamp.as_micros());
        self.value.append_option(event.value);
        self.session_id.append_option(event.session_id.as_ref());
        self.request_id.append_option(event.request_id.as_ref());
        self.position.append_value(position.0 as i64);
        self.rows += 1;
        self.bytes += 64 + properties.as_ref().map_or(0, String::len);
        self.properties.append_option(properties);
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch, ParquetError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.event_id.finish()),
            Arc::new(self.event_type.finish()),
            Arc::new(self.user_id.finish()),
            Arc::new(self.item_id.finish()),
            Arc::new(self.timestamp.finish().with_timezone("UTC")),
            Arc::new(self.value.finish()),
            Arc::new(self.session_id.finish()),
            Arc::new(self.request_id.finish()),
            Arc::new(self.properties.finish()),
            Arc::new(self.position.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}
