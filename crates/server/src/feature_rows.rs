//! Judging rows of a feature view that clients push: columns of JSON values become typed rows for the log. A push is
//! written whole or not at all, so every wrong value is named, and nothing is guessed.

use serde_json::Value;
use tastemaker_api::FieldError;
use tastemaker_api::feast::Columns;
use tastemaker_config::{Entity, FeatureViewConfig};
use tastemaker_features::set::{ValueType, View};
use tastemaker_types::{FeatureRow, FeatureValue, Record, Timestamp, attribute, did_you_mean};

/// The most refusals that are told.
const LISTED: usize = 100;
/// The longest vector.
const MAX_DIMENSIONS: usize = 4_096;

/// Why rows were refused; none was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRows {
    /// How many rows there were.
    pub rows: usize,
    /// What is wrong, by place; at most 100.
    pub errors: Vec<FieldError>,
}

impl std::fmt::Display for RefusedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing was written")?;
        self.errors.first().map_or(Ok(()), |first| write!(f, ": {first}"))
    }
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Role {
    User,
    Item,
    EventTime,
    Created,
    Feature(ValueType),
}

/// Turns columns into rows of `view`. What has no event time holds since `now`; what does not say when it was created was so `now`.
///
/// # Errors
/// Every wrong value, up to a hundred.
pub(crate) fn judge(
    view: &View,
    declared: &FeatureViewConfig,
    columns: &Columns,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Record>, RefusedRows> {
    let rows = columns.values().map(Vec::len).max().unwrap_or(0);
    let mut refusals = RefusedRows { rows, errors: Vec::new() };
    let roles: Vec<Role> = {
        let mut refuse = |column: &str, message: String| refusals.add(format!("df.{column}"), message);
        let role = |(column, values): (&String, &Vec<Value>)| {
            if values.len() != rows {
                let message = format!("it has {} values, others have {rows}; give one for each row", values.len());
                refuse(column, message);
            }
            let role = role(view, declared, column);
            if role.is_none() {
                let keys = ["user_id", "item_id", "event_timestamp", "created"];
                let known = view.columns.keys().map(String::as_str).chain(keys);
                let hint = did_you_mean(column, known);
                refuse(column, format!("the feature view '{}' has no column '{column}'{hint}", view.name));
            }
            role.unwrap_or(Role::Created)
        };
        columns.iter().map(role).collect()
    };
    let has = |wanted: fn(&Role) -> bool| roles.iter().filter(|role| wanted(role)).count();
    let needs = |entity: Entity| view.entity == entity || view.entity == Entity::Pair;
    for (column, needed, found) in [
        ("user_id", needs(Entity::User), has(|role| matches!(role, Role::User))),
        ("item_id", needs(Entity::Item), has(|role| matches!(role, Role::Item))),
        ("event_timestamp", false, has(|role| matches!(role, Role::EventTime))),
    ] {
        if needed && found == 0 {
            let message = format!("it is missing; '{}' is a view of {}s", view.name, view.entity.name());
            refusals.add(format!("df.{column}"), message);
        } else if found > 1 {
            refusals.add(format!("df.{column}"), "it is given twice, under two names; keep one".to_owned());
        }
    }
    if rows > most {
        refusals.add("df".to_owned(), format!("{rows} rows in one request; send at most {most} at a time"));
    }
    if !refusals.errors.is_empty() {
        return Err(refusals);
    }
    let mut records = Vec::with_capacity(rows);
    for place in 0..rows {
        let mut row = FeatureRow {
            view: view.name.clone(),
            user_id: None,
            item_id: None,
            event_timestamp: now,
            created: None,
            values: Vec::with_capacity(view.columns.len()),
        };
        for ((column, values), role) in columns.iter().zip(&roles) {
            let value = values.get(place).unwrap_or(&Value::Null);
            if let Err(message) = put(&mut row, *role, column, value, now) {
                refusals.add(format!("df.{column}[{place}]"), message);
            }
        }
        // When it was written is when the server took it: a past that did not have the row must not learn of it.
        row.created = Some(row.created.map_or(now, |created| created.min(now)));
        records.push(Record::FeatureRow(row));
    }
    if refusals.errors.is_empty() { Ok(records) } else { Err(refusals) }
}

impl RefusedRows {
    fn add(&mut self, field: String, message: String) {
        if self.errors.len() < LISTED {
            self.errors.push(FieldError { field, message });
        }
    }
}

/// A view's features come first, then the names that its table declares, then the common ones.
fn role(view: &View, declared: &FeatureViewConfig, column: &str) -> Option<Role> {
    if let Some(value_type) = view.columns.get(column) {
        return Some(Role::Feature(*value_type));
    }
    let is = |name: &str, common: &str| column == name || column == common;
    let keys = [
        (is(&declared.user_column, "user_id") && view.entity != Entity::Item, Role::User),
        (is(&declared.item_column, "item_id") && view.entity != Entity::User, Role::Item),
        (is(&declared.event_time_column, "event_timestamp"), Role::EventTime),
        (is(declared.created_time_column.as_deref().unwrap_or("created"), "created"), Role::Created),
    ];
    keys.into_iter().find(|(is, _)| *is).map(|(_, role)| role)
}

/// Puts one value into its row.
fn put(row: &mut FeatureRow, role: Role, column: &str, value: &Value, now: Timestamp) -> Result<(), String> {
    match role {
        Role::User => row.user_id = Some(id("user_id", value)?),
        Role::Item => row.item_id = Some(id("item_id", value)?),
        Role::EventTime if value.is_null() => {
            return Err("the time is missing; give one, or leave the column out, and rows hold since now".to_owned());
        }
        Role::EventTime => row.event_timestamp = not_ahead(value, now)?,
        Role::Created if value.is_null() => {}
        Role::Created => row.created = Some(not_ahead(value, now)?),
        Role::Feature(_) if value.is_null() => {}
        Role::Feature(value_type) => row.values.push((column.to_owned(), typed(value_type, value)?)),
    }
    Ok(())
}

/// An id: a text, or a whole number as its digits.
pub(crate) fn id(what: &'static str, value: &Value) -> Result<String, String> {
    let id = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        other => return Err(format!("{other} is no id; give a text or a whole number")),
    };
    tastemaker_types::validate_id(what, &id).map_err(|error| error.to_string())?;
    Ok(id)
}

fn time(value: &Value) -> Result<Timestamp, String> {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.parse().map_err(|error: tastemaker_types::TimeError| error.to_string()),
        (None, Some(number)) => Timestamp::from_number(number).map_err(|error| error.to_string()),
        (None, None) => Err(format!("{} is not a time; give RFC 3339 text or a number since 1970", kind(value))),
    }
}

/// A time that may be a little ahead, as that of an event may.
fn not_ahead(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let at = time(value)?;
    at.check_not_ahead(now).map_err(|error| error.to_string())?;
    Ok(at)
}

fn typed(value_type: ValueType, value: &Value) -> Result<FeatureValue, String> {
    let refuse =
        |remedy: &str| Err(format!("it is declared as {}, but {} was given; {remedy}", value_type.name(), kind(value)));
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match (value_type, value) {
        (ValueType::Number, Value::Number(number)) => match number.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(FeatureValue::Number(number)),
            None => refuse("give one that fits 64 bits"),
        },
        (ValueType::Number, _) => refuse("give a finite JSON number, such as 9.5"),
        (ValueType::Bool, Value::Bool(bool)) => Ok(FeatureValue::Bool(*bool)),
        (ValueType::Bool, _) => refuse("give true or false"),
        (ValueType::Text, Value::String(text)) => checked(text).map(FeatureValue::Text),
        (ValueType::Text, _) => refuse("give a JSON string"),
        (ValueType::Time, value) => time(value).map(FeatureValue::Time),
        (ValueType::Texts, Value::Array(_)) if items.len() > attribute::MAX_TAGS => {
            Err(format!("it has {} texts; at most {} are allowed", items.len(), attribute::MAX_TAGS))
        }
        (ValueType::Texts, Value::Array(_)) => {
            let texts = items.iter().map(|item| match item {
                Value::String(text) => checked(text),
                other => Err(format!("it is a list of texts, but one is {}; give JSON strings", kind(other))),
            });
            texts.collect::<Result<_, _>>().map(FeatureValue::Texts)
        }
        (ValueType::Texts, _) => refuse("give a JSON list of strings"),
        (ValueType::Vector, Value::Array(_)) if items.len() > MAX_DIMENSIONS => {
            Err(format!("it has {} numbers; at most {MAX_DIMENSIONS} are allowed", items.len()))
        }
        (ValueType::Vector, Value::Array(_)) => {
            let numbers = items.iter().map(|item| match item.as_f64().map(|number| number as f32) {
                Some(number) if number.is_finite() => Ok(number),
                _ => Err(format!("it is a list of 32-bit floats, but one is {}; give finite numbers", kind(item))),
            });
            numbers.collect::<Result<_, _>>().map(FeatureValue::Vector)
        }
        (ValueType::Vector, _) => refuse("give a JSON list of numbers"),
        (ValueType::Map, _) => refuse("maps are computed of events alone"),
    }
}

fn checked(text: &str) -> Result<String, String> {
    if text.len() > attribute::MAX_TEXT_BYTES {
        return Err(format!("a text has {} bytes; at most {} are allowed", text.len(), attribute::MAX_TEXT_BYTES));
    }
    Ok(text.to_owned())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
