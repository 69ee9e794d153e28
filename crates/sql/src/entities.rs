//! The tables `items` and `users`: what each is now, which is what the log's upserts and deletions leave in their order.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, RecordBatchIterator, RecordBatchOptions, RecordBatchReader,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tastemaker_log::BATCH_ROWS;
use tastemaker_types::{AttributeSchema, AttributeType, EntityUpsert, Record, UpsertMode, Value};

use crate::table::{Hold, LogUpTo, Table, text, time};

/// A batch ends early when its values have this many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// What an entry takes beside its id and its values: its part of the tree and its allocations.
const ENTRY_BYTES: usize = 96;
/// Records between two looks at the memory.
const HOLD_EVERY: usize = 256;

/// Which entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Items,
    Users,
}

/// Columns: `id` (UTF-8), then one for each declared attribute, null where it is not known: tag and text are UTF-8, tags
/// a list of UTF-8, number a double, bool a boolean, time microseconds UTC. Rows come in the order of their ids.
#[derive(Debug)]
pub(crate) struct Entities {
    log: LogUpTo,
    kind: Kind,
    attributes: AttributeSchema,
}

impl Entities {
    pub(crate) fn new(log: LogUpTo, kind: Kind, attributes: AttributeSchema) -> Self {
        Self { log, kind, attributes }
    }

    /// The entities as the log leaves them, with the values of the wanted attributes alone.
    fn read(&self, wanted: AttributeSchema, hold: &mut Hold) -> Result<State, ArrowError> {
        let mut state = State { wanted, rows: BTreeMap::new(), bytes: 0 };
        for (read, record) in self.log.without_events().enumerate() {
            match (self.kind, record?) {
                (Kind::Items, Record::ItemUpsert(upsert)) | (Kind::Users, Record::UserUpsert(upsert)) => {
                    state.upsert(upsert);
                }
                (Kind::Items, Record::ItemDelete { id, .. }) | (Kind::Users, Record::UserDelete { id, .. }) => {
                    state.delete(&id);
                }
                _ => {}
            }
            if read.is_multiple_of(HOLD_EVERY) {
                hold(state.bytes)?;
            }
        }
        hold(state.bytes)?;
        Ok(state)
    }
}

impl Table for Entities {
    fn schema(&self) -> SchemaRef {
        let attributes = self.attributes.fields().iter().map(|(name, kind)| field(name, *kind));
        Arc::new(Schema::new([text("id", false)].into_iter().chain(attributes).collect::<Vec<_>>()))
    }

    fn scan(&self, columns: &[usize], mut hold: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
        let schema = Arc::new(self.schema().project(columns)?);
        let wanted = schema.fields().iter();
        let wanted = wanted.filter_map(|field| Some((field.name().clone(), self.attributes.get(field.name())?)));
        let state = self.read(AttributeSchema::new(wanted), &mut hold)?;
        Ok(Box::new(RecordBatchIterator::new(state.batches(&schema, hold), schema)))
    }
}

/// Values of the wanted attributes, in their order.
type Row = Box<[Option<Value>]>;

/// The entities while the log is read.
struct State {
    wanted: AttributeSchema,
    rows: BTreeMap<String, Row>,
    /// What the rows take, about.
    bytes: usize,
}

impl State {
    fn upsert(&mut self, mut upsert: EntityUpsert) {
        let Self { wanted, rows, bytes } = self;
        let width = wanted.fields().len();
        let row = rows.entry(upsert.id).or_insert_with_key(|id| {
            *bytes += entry_bytes(id, width);
            vec![None; width].into()
        });
        for ((name, _), value) in wanted.fields().iter().zip(row) {
            // A value that is not of the type declared now counts as not given, as in serving.
            let given = upsert.attributes.remove(name).and_then(|given| wanted.coerce(name, given).ok());
            if given.is_none() && upsert.mode == UpsertMode::Merge {
                continue;
            }
            *bytes -= value_bytes(value);
            *value = given;
            *bytes += value_bytes(value);
        }
    }

    fn delete(&mut self, id: &str) {
        if let Some(row) = self.rows.remove(id) {
            self.bytes -= entry_bytes(id, row.len()) + row.iter().map(value_bytes).sum::<usize>();
        }
    }

    /// The rows in batches of these columns; `hold` keeps their memory until the last is out.
    fn batches(self, schema: &SchemaRef, hold: Hold) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + use<> {
        let schema = Arc::clone(schema);
        let Self { wanted, rows, .. } = self;
        let mut rows = rows.into_iter();
        std::iter::from_fn(move || {
            let _held = &hold;
            let mut batch = Vec::new();
            let mut bytes = 0;
            while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
                let Some((id, row)) = rows.next() else { break };
                bytes += id.len() + row.iter().map(value_bytes).sum::<usize>();
                batch.push((id, row));
            }
            (!batch.is_empty()).then(|| to_batch(&schema, &wanted, &batch))
        })
    }
}

/// What an entity takes beside its values' own allocations.
fn entry_bytes(id: &str, width: usize) -> usize {
    ENTRY_BYTES + id.len() + width * size_of::<Option<Value>>()
}

/// What a value allocates.
fn value_bytes(value: &Option<Value>) -> usize {
    match value {
        Some(Value::Text(text)) => text.capacity(),
        Some(Value::Tags(tags)) => tags.iter().map(|tag| size_of::<String>() + tag.capacity()).sum(),
        _ => 0,
    }
}

fn field(name: &str, kind: AttributeType) -> Field {
    match kind {
        AttributeType::Tag | AttributeType::Text => text(name, true),
        AttributeType::Tags => Field::new_list(name, text("item", true), true),
        AttributeType::Number => Field::new(name, DataType::Float64, true),
        AttributeType::Bool => Field::new(name, DataType::Boolean, true),
        AttributeType::Time => time(name, true),
    }
}

fn to_batch(schema: &SchemaRef, wanted: &AttributeSchema, rows: &[(String, Row)]) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| -> ArrayRef {
        let place = wanted.fields().iter().position(|(name, _)| name == field.name());
        match place.zip(wanted.get(field.name())) {
            Some((place, kind)) => values(kind, rows.iter().map(|(_, row)| row.get(place)?.as_ref())),
            // The one column that is no attribute.
            None => Arc::new(StringArray::from_iter_values(rows.iter().map(|(id, _)| id))),
        }
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), schema.fields().iter().map(column).collect(), &options)
}

/// A column of an attribute of this type.
fn values<'a>(kind: AttributeType, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    macro_rules! pick {
        ($kind:pat => $value:expr) => {
            values.map(|value| if let Some($kind) = value { Some($value) } else { None })
        };
    }
    match kind {
        AttributeType::Tag | AttributeType::Text => {
            Arc::new(pick!(Value::Text(text) => text.as_str()).collect::<StringArray>())
        }
        AttributeType::Number => Arc::new(pick!(Value::Number(number) => *number).collect::<Float64Array>()),
        AttributeType::Bool => Arc::new(pick!(Value::Bool(truth) => *truth).collect::<BooleanArray>()),
        AttributeType::Time => {
            let micros = pick!(Value::Time(time) => time.as_micros());
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        AttributeType::Tags => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for tags in pick!(Value::Tags(tags) => tags) {
                lists.append_option(tags.map(|tags| tags.iter().map(Some)));
            }
            Arc::new(lists.finish())
        }
    }
}
