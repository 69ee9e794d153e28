//! Events as Arrow record batches: the one place where an event becomes columns, for the Parquet export and for queries.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, RecordBatchReader, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use tastemaker_types::{Attributes, Event, Position, Record};

use crate::reader::Frames;
use crate::{LogError, LogReader, wire};

/// The most rows in one batch.
pub const BATCH_ROWS: usize = 8_192;
/// A record may be large: a batch ends early when its records have this many bytes in the log.
const BATCH_BYTES: usize = 16 << 20;

/// The columns of events: `event_id`, `type`, `user_id`, `item_id` (UTF-8), `timestamp` (microseconds, UTC), `value` (double
/// or null), `session_id`, `request_id` (UTF-8 or null), `properties` (JSON object as UTF-8, or null), `position` (int64).
pub fn event_schema() -> SchemaRef {
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

/// Collects events until they make a batch.
#[derive(Debug)]
pub(crate) struct EventBatch {
    schema: SchemaRef,
    /// Positions and events; if there are no columns, nothing but their number matters.
    events: Vec<(Position, Event)>,
    rows: usize,
    bytes: usize,
}

impl EventBatch {
    /// Batches of these columns of [`event_schema`], or of all.
    pub(crate) fn new(columns: Option<&[usize]>) -> Result<Self, ArrowError> {
        let schema = event_schema();
        let schema = columns.map_or_else(|| Ok(schema.as_ref().clone()), |columns| schema.project(columns))?;
        Ok(Self { schema: Arc::new(schema), events: Vec::new(), rows: 0, bytes: 0 })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds one event, whose record has `bytes` bytes.
    pub(crate) fn push(&mut self, position: Position, event: Event, bytes: usize) {
        self.events.push((position, event));
        self.rows += 1;
        self.bytes += bytes;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The rows so far; collecting starts again.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let events = mem::take(&mut self.events);
        self.bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(mem::take(&mut self.rows)));
        let columns = self.schema.fields().iter().map(|field| column(field.name(), &events));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?, &options)
    }
}

/// One column of [`event_schema`].
fn column(name: &str, events: &[(Position, Event)]) -> Result<ArrayRef, ArrowError> {
    fn text<'a>(events: &'a [(Position, Event)], get: impl Fn(&'a Event) -> &'a String) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(events.iter().map(|(_, event)| get(event))))
    }
    fn maybe<'a>(events: &'a [(Position, Event)], get: impl Fn(&'a Event) -> Option<&'a String>) -> ArrayRef {
        Arc::new(events.iter().map(|(_, event)| get(event)).collect::<StringArray>())
    }
    Ok(match name {
        "event_id" => text(events, |event| &event.event_id),
        "type" => text(events, |event| &event.event_type),
        "user_id" => text(events, |event| &event.user_id),
        "item_id" => text(events, |event| &event.item_id),
        "timestamp" => {
            let micros = events.iter().map(|(_, event)| event.timestamp.as_micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
        }
        "value" => Arc::new(events.iter().map(|(_, event)| event.value).collect::<Float64Array>()),
        "session_id" => maybe(events, |event| event.session_id.as_ref()),
        "request_id" => maybe(events, |event| event.request_id.as_ref()),
        "properties" => {
            let json = events.iter().map(|(_, event)| json(&event.properties)).collect::<Result<StringArray, _>>();
            Arc::new(json.map_err(|error| ArrowError::JsonError(error.to_string()))?)
        }
        "position" => Arc::new(Int64Array::from_iter_values(events.iter().map(|(position, _)| position.0 as i64))),
        other => return Err(ArrowError::SchemaError(format!("events have no column '{other}'"))),
    })
}

fn json(properties: &Attributes) -> Result<Option<String>, serde_json::Error> {
    if properties.is_empty() { Ok(None) } else { serde_json::to_string(properties).map(Some) }
}

/// The events of a log in log order, as batches; see [`LogReader::event_batches`].
pub struct EventBatches {
    frames: Frames,
    end: Position,
    batch: EventBatch,
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl LogReader {
    /// The events at positions before `end` as batches of the given columns of [`event_schema`] (all, if `None`), at most
    /// [`BATCH_ROWS`] rows each. After an error there is nothing more.
    ///
    /// # Errors
    /// A column that does not exist. The reader's own are [`LogError`]s in [`ArrowError::ExternalError`].
    pub fn event_batches(&self, columns: Option<&[usize]>, end: Position) -> Result<EventBatches, ArrowError> {
        let batch = EventBatch::new(columns)?;
        Ok(EventBatches { frames: self.frames(Position(0)), end, batch, ready: VecDeque::new(), ended: false })
    }
}

impl RecordBatchReader for EventBatches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.batch.schema())
    }
}

impl Iterator for EventBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            let read = self.read_frame();
            self.ended = !matches!(read, Ok(true));
            if let Err(error) = read {
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl EventBatches {
    /// Takes the events of the next frame; false at the end, when the last batch is ready.
    fn read_frame(&mut self) -> Result<bool, ArrowError> {
        let Self { frames, end, batch, ready, .. } = self;
        let count_only = batch.schema().fields().is_empty();
        let mut before_end = true;
        let mut failed = None;
        let more = frames.next(|position, bytes| {
            before_end = position < *end;
            if !before_end || failed.is_some() || !wire::is_event(bytes) {
                return Ok(());
            }
            if count_only {
                batch.rows += 1;
            } else if let Record::Event(event) = wire::decode(bytes)? {
                batch.push(position, event, bytes.len());
            }
            if batch.is_full() {
                match batch.take() {
                    Ok(full) => ready.push_back(full),
                    Err(error) => failed = Some(error),
                }
            }
            Ok(())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let more = more.map_err(external)? && before_end;
        if !more && batch.rows() > 0 {
            ready.push_back(batch.take()?);
        }
        Ok(more)
    }
}

fn external(error: LogError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}
