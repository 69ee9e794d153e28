//! The table `recommendations`: a row for each item of each answer that went out, in the order shown.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float32Array, Int64Array, RecordBatch, RecordBatchIterator, RecordBatchOptions, RecordBatchReader,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tastemaker_log::BATCH_ROWS;
use tastemaker_types::{Record, Served, ServedItem};

use crate::table::{Hold, LogUpTo, Table, text, time};

/// Columns: `request_id`, `user_id` (UTF-8), `timestamp` (microseconds, UTC), `generation` (int64 or null), `position` (int64,
/// 1 is the first item shown), `item_id` (UTF-8), `score` (32-bit float).
#[derive(Debug)]
pub(crate) struct Recommendations {
    pub(crate) log: LogUpTo,
}

impl Table for Recommendations {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            text("request_id", false),
            text("user_id", false),
            time("timestamp", false),
            Field::new("generation", DataType::Int64, true),
            Field::new("position", DataType::Int64, false),
            text("item_id", false),
            Field::new("score", DataType::Float32, false),
        ]))
    }

    fn scan(&self, columns: &[usize], _: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
        let schema = Arc::new(self.schema().project(columns)?);
        let of_batches = Arc::clone(&schema);
        let mut answers = self.log.without_events().filter_map(|record| match record {
            Ok(Record::Served(served)) => Some(Ok(served)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let batches = std::iter::from_fn(move || {
            let mut batch = Vec::new();
            let mut rows = 0;
            while rows < BATCH_ROWS {
                match answers.next() {
                    Some(Ok(served)) => {
                        rows += served.items.len();
                        batch.push(served);
                    }
                    Some(Err(error)) => return Some(Err(error)),
                    None => break,
                }
            }
            (rows > 0).then(|| to_batch(&of_batches, &batch, rows))
        });
        Ok(Box::new(RecordBatchIterator::new(batches, schema)))
    }
}

fn to_batch(schema: &SchemaRef, answers: &[Served], rows: usize) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| column(field.name(), answers));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn column(name: &str, answers: &[Served]) -> Result<ArrayRef, ArrowError> {
    fn rows(answers: &[Served]) -> impl Iterator<Item = (&Served, usize, &ServedItem)> {
        answers
            .iter()
            .flat_map(|served| served.items.iter().enumerate().map(move |(place, item)| (served, place, item)))
    }
    // A text array is made from an iterator that knows its length.
    let rows = rows(answers).collect::<Vec<_>>().into_iter();
    Ok(match name {
        "request_id" => Arc::new(StringArray::from_iter_values(rows.map(|(served, ..)| &served.request_id))),
        "user_id" => Arc::new(StringArray::from_iter_values(rows.map(|(served, ..)| &served.user_id))),
        "timestamp" => {
            let micros = rows.map(|(served, ..)| served.timestamp.as_micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
        }
        "generation" => {
            Arc::new(rows.map(|(served, ..)| served.generation.map(|version| version as i64)).collect::<Int64Array>())
        }
        "position" => Arc::new(Int64Array::from_iter_values(rows.map(|(_, place, _)| place as i64 + 1))),
        "item_id" => Arc::new(StringArray::from_iter_values(rows.map(|(.., item)| &item.item_id))),
        "score" => Arc::new(Float32Array::from_iter_values(rows.map(|(.., item)| item.score))),
        other => return Err(ArrowError::SchemaError(format!("recommendations have no column '{other}'"))),
    })
}
