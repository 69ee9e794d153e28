//! Values and what happens to entities in a form that is written to temporary files and read back by the same process.

use serde::{Deserialize, Serialize};
use tastemaker_types::{FeatureValue, Timestamp, Value};

use crate::entity::ViewRow;
use crate::kernel::Input;

/// A value of a feature or an attribute. The types of values themselves are made for JSON and cannot be read back from a compact form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Stored {
    Number(f64),
    Text(String),
    Bool(bool),
    Time(i64),
    Texts(Vec<String>),
    Vector(Vec<f32>),
    Map(Vec<(String, f64)>),
}

/// Something that happened to an entity.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Happened<'a> {
    /// An event said this to the features, and came at this time if that was before its own.
    Event {
        received: Option<i64>,
        #[serde(borrow)]
        inputs: Vec<Input<'a>>,
    },
    /// A row of a view.
    Row(StoredRow),
    /// New attributes, beside those it has or instead of them.
    Upsert { replace: bool, attributes: Vec<(String, Stored)> },
    /// It was deleted.
    Delete,
}

/// A [`ViewRow`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRow {
    view: u16,
    event_time: i64,
    created: i64,
    values: Vec<Option<Stored>>,
}

impl From<&FeatureValue> for Stored {
    fn from(value: &FeatureValue) -> Self {
        match value.clone() {
            FeatureValue::Number(number) => Self::Number(number),
            FeatureValue::Text(text) => Self::Text(text),
            FeatureValue::Bool(truth) => Self::Bool(truth),
            FeatureValue::Time(time) => Self::Time(time.as_micros()),
            FeatureValue::Texts(texts) => Self::Texts(texts),
            FeatureValue::Vector(vector) => Self::Vector(vector),
            FeatureValue::Map(map) => Self::Map(map),
        }
    }
}

impl From<Stored> for FeatureValue {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Number(number) => Self::Number(number),
            Stored::Text(text) => Self::Text(text),
            Stored::Bool(truth) => Self::Bool(truth),
            Stored::Time(micros) => Self::Time(Timestamp::from_micros(micros)),
            Stored::Texts(texts) => Self::Texts(texts),
            Stored::Vector(vector) => Self::Vector(vector),
            Stored::Map(map) => Self::Map(map),
        }
    }
}

impl From<&Value> for Stored {
    fn from(value: &Value) -> Self {
        match value.clone() {
            Value::Number(number) => Self::Number(number),
            Value::Text(text) => Self::Text(text),
            Value::Bool(truth) => Self::Bool(truth),
            Value::Time(time) => Self::Time(time.as_micros()),
            Value::Tags(tags) => Self::Texts(tags),
        }
    }
}

impl Stored {
    /// As a value of an attribute, which is no vector and no map.
    pub(super) fn into_attribute(self) -> Option<Value> {
        match self {
            Self::Number(number) => Some(Value::Number(number)),
            Self::Text(text) => Some(Value::Text(text)),
            Self::Bool(truth) => Some(Value::Bool(truth)),
            Self::Time(micros) => Some(Value::Time(Timestamp::from_micros(micros))),
            Self::Texts(tags) => Some(Value::Tags(tags)),
            Self::Vector(_) | Self::Map(_) => None,
        }
    }
}

impl From<&ViewRow> for StoredRow {
    fn from(row: &ViewRow) -> Self {
        Self {
            view: row.view,
            event_time: row.event_time.as_micros(),
            created: row.created.as_micros(),
            values: row.values.iter().map(|value| value.as_ref().map(Stored::from)).collect(),
        }
    }
}

impl From<StoredRow> for ViewRow {
    fn from(row: StoredRow) -> Self {
        Self {
            view: row.view,
            event_time: Timestamp::from_micros(row.event_time),
            created: Timestamp::from_micros(row.created),
            values: row.values.into_iter().map(|value| value.map(FeatureValue::from)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_comes_back() {
        let values = [
            FeatureValue::Number(-0.0),
            FeatureValue::Text("ü".to_owned()),
            FeatureValue::Bool(true),
            FeatureValue::Time(Timestamp::from_micros(-7)),
            FeatureValue::Texts(vec!["a".to_owned(), String::new()]),
            FeatureValue::Vector(vec![1.5, -2.0]),
            FeatureValue::Map(vec![("a".to_owned(), 0.1)]),
        ];
        for value in values {
            let bytes = postcard::to_allocvec(&Stored::from(&value)).unwrap();
            let back: FeatureValue = postcard::from_bytes::<Stored>(&bytes).unwrap().into();
            assert!(back.same_bits(&value), "{back:?} for {value:?}");
        }
        let inputs = vec![Input { feature: 3, group: Some("red"), ..Input::default() }];
        let bytes = postcard::to_allocvec(&Happened::Event { received: Some(-1), inputs: inputs.clone() }).unwrap();
        let Happened::Event { inputs: back, .. } = postcard::from_bytes(&bytes).unwrap() else {
            panic!("it was an event")
        };
        assert_eq!(back, inputs);
    }
}
