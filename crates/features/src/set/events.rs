//! What streaming features may read of an event, as the columns of a batch: the event's own fields, and the attributes that its item had
//! when the event was logged.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, TimeUnit};
use tastemaker_expr::{Column, Expr, Schema};
use tastemaker_store::CatalogSnapshot;
use tastemaker_types::{AttributeSchema, Event};

/// The prefix of item attributes.
const ITEM: &str = "item.";

/// The columns that are read, each once.
#[derive(Debug, Clone, Default)]
pub struct EventColumns {
    columns: Vec<Column>,
}

/// The fields of an event.
const FIELDS: [&str; 7] = ["type", "user_id", "item_id", "session_id", "request_id", "timestamp", "value"];

/// What expressions over events are checked against.
pub(super) fn event_schema(items: &AttributeSchema) -> Schema {
    let own = FIELDS.iter().map(|name| ((*name).to_owned(), field_type(name)));
    let attributes = items.fields().iter();
    let attributes = attributes.map(|(name, kind)| (format!("{ITEM}{name}"), tastemaker_expr::arrow_type(*kind)));
    Schema::new(own.chain(attributes))
}

fn field_type(name: &str) -> DataType {
    match name {
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "value" => DataType::Float64,
        _ => DataType::Utf8,
    }
}

impl EventColumns {
    /// Adds what an expression reads.
    pub(super) fn add(&mut self, expr: &Expr) {
        for column in expr.column_refs() {
            if !self.columns.contains(column) {
                self.columns.push(column.clone());
            }
        }
    }

    /// Whether an attribute of an item is among them, so that the order of events and item changes matters.
    pub fn read_items(&self) -> bool {
        self.columns.iter().any(|column| column.name.starts_with(ITEM))
    }

    /// The columns of some events, each with the row of its item in `catalog`.
    ///
    /// # Errors
    /// Never for events and a catalog of this project.
    pub fn batch(&self, events: &[(&Event, u32)], catalog: &CatalogSnapshot) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<u32> = events.iter().map(|(_, row)| *row).collect();
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let array = match column.name.strip_prefix(ITEM) {
                Some(attribute) => attribute_column(catalog, &rows, attribute),
                None => Some(own_column(events, &column.name)),
            };
            let Some(array) = array else { continue };
            fields.push(Field::new(&*column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
    }
}

fn attribute_column(catalog: &CatalogSnapshot, rows: &[u32], attribute: &str) -> Option<ArrayRef> {
    let place = catalog.attribute_schema().fields().iter().position(|(name, _)| name == attribute)?;
    catalog.gather_columns(rows, &[place]).columns().first().cloned()
}

fn own_column(events: &[(&Event, u32)], name: &str) -> ArrayRef {
    fn texts<'a>(events: &[(&'a Event, u32)], of: impl Fn(&'a Event) -> Option<&'a str>) -> ArrayRef {
        Arc::new(events.iter().map(|(event, _)| of(event)).collect::<StringArray>())
    }
    match name {
        "timestamp" => {
            let times = events.iter().map(|(event, _)| event.timestamp.as_micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        "value" => Arc::new(events.iter().map(|(event, _)| event.value).collect::<Float64Array>()),
        "user_id" => texts(events, |event| Some(&event.user_id)),
        "item_id" => texts(events, |event| Some(&event.item_id)),
        "session_id" => texts(events, |event| event.session_id.as_deref()),
        "request_id" => texts(events, |event| event.request_id.as_deref()),
        _ => texts(events, |event| Some(&event.event_type)),
    }
}
