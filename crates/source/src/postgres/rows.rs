//! Rows of an answer to items.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tastemaker_types::{Attributes, EntityUpsert, Record, Timestamp, UpsertMode, Value, validate_id};

use super::columns::Wire;
use super::layout::{LEADING, Layout};
use crate::origin::{Known, State};

/// A row of any of the layout's queries.
pub(crate) struct Read {
    pub(crate) id: String,
    pub(crate) known: Known,
    /// The present, by the clock of the database.
    pub(crate) clock: Timestamp,
}

/// Reads one row; none if it has no id.
pub(crate) fn read(row: &PgRow, layout: &Layout) -> Result<Option<Read>, sqlx::Error> {
    let Some(id) = row.try_get::<Option<String>, _>(0)? else { return Ok(None) };
    let updated = row.try_get::<Option<i64>, _>(1)?.map(Timestamp::from_micros);
    let deleted = row.try_get::<bool, _>(2)?;
    let clock = Timestamp::from_micros(row.try_get(3)?);
    let state = if deleted { State::Absent } else { state(&id, row, layout)? };
    Ok(Some(Read { id, known: Known { updated, state }, clock }))
}

fn state(id: &str, row: &PgRow, layout: &Layout) -> Result<State, sqlx::Error> {
    let refused = |reason: String| Ok(State::Refused(reason.into()));
    if let Err(error) = validate_id("id", id) {
        return refused(error.to_string());
    }
    let mut attributes = Attributes::new();
    for (index, (name, wire)) in layout.attributes.iter().enumerate() {
        let Some(value) = value(row, LEADING + index, *wire)? else { continue };
        match layout.schema.coerce(name, value) {
            Ok(value) => drop(attributes.insert(name.clone(), value)),
            Err(error) => return refused(error.to_string()),
        }
    }
    let upsert = EntityUpsert { id: id.to_owned(), attributes, mode: UpsertMode::Replace, timestamp: Timestamp::EPOCH };
    let record = Record::ItemUpsert(upsert);
    if let Err(error) = record.check_size() {
        return refused(error.to_string());
    }
    let Record::ItemUpsert(EntityUpsert { attributes, .. }) = record else { return Ok(State::Absent) };
    Ok(State::Present(Arc::new(attributes)))
}

fn value(row: &PgRow, index: usize, wire: Wire) -> Result<Option<Value>, sqlx::Error> {
    Ok(match wire {
        Wire::Text => row.try_get::<Option<String>, _>(index)?.map(Value::Text),
        Wire::TextArray => row.try_get::<Option<Vec<String>>, _>(index)?.map(Value::Tags),
        Wire::Float => row.try_get::<Option<f64>, _>(index)?.map(Value::Number),
        // What is no number becomes NaN, which no attribute takes; what is too large, infinity, which none takes either.
        Wire::Numeric => {
            row.try_get::<Option<&str>, _>(index)?.map(|text| Value::Number(text.parse().unwrap_or(f64::NAN)))
        }
        Wire::Bool => row.try_get::<Option<bool>, _>(index)?.map(Value::Bool),
        Wire::Micros => row.try_get::<Option<i64>, _>(index)?.map(|us| Value::Time(Timestamp::from_micros(us))),
    })
}
