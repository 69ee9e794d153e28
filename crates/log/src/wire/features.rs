//! Values of features, rows of feature views, and what an answer was made with.

use prost::{Message, Oneof};
use tastemaker_types::{self as types, Position, Timestamp};

use super::{Attribute, Tags, from_wire, to_wire};

#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureRow {
    #[prost(string, tag = "1")]
    view: String,
    #[prost(string, optional, tag = "2")]
    user_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    item_id: Option<String>,
    #[prost(sfixed64, tag = "4")]
    event_timestamp: i64,
    #[prost(sfixed64, optional, tag = "5")]
    created: Option<i64>,
    #[prost(message, repeated, tag = "6")]
    values: Vec<NamedValue>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedValue {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

/// A value, or none: NULL.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3, 4, 5, 6, 7")]
    kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ValueKind {
    #[prost(double, tag = "1")]
    Number(f64),
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(sfixed64, tag = "4")]
    Time(i64),
    #[prost(message, tag = "5")]
    Texts(Tags),
    #[prost(message, tag = "6")]
    Vector(Vector),
    #[prost(message, tag = "7")]
    Map(Map),
}

#[derive(Clone, PartialEq, Message)]
struct Vector {
    #[prost(float, repeated, tag = "1")]
    values: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct Map {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    #[prost(double, repeated, tag = "2")]
    numbers: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServedFeatures {
    /// Versions are stored one higher; 0 is none.
    #[prost(uint64, tag = "1")]
    user_version: u64,
    #[prost(uint64, tag = "2")]
    catalog_version: u64,
    #[prost(uint64, repeated, tag = "3")]
    item_versions: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    pair_versions: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    context: Vec<Attribute>,
    #[prost(message, repeated, tag = "6")]
    values: Vec<Column>,
    #[prost(fixed64, repeated, tag = "7")]
    fingerprints: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Column {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(message, repeated, tag = "2")]
    values: Vec<Value>,
}

fn to_stored(version: Option<Position>) -> u64 {
    version.map_or(0, |position| position.0.saturating_add(1))
}

fn from_stored(version: u64) -> Option<Position> {
    version.checked_sub(1).map(Position)
}

impl From<&types::FeatureValue> for Value {
    fn from(value: &types::FeatureValue) -> Self {
        use types::FeatureValue as V;
        Self {
            kind: Some(match value {
                V::Number(number) => ValueKind::Number(*number),
                V::Text(text) => ValueKind::Text(text.clone()),
                V::Bool(truth) => ValueKind::Bool(*truth),
                V::Time(time) => ValueKind::Time(time.as_micros()),
                V::Texts(texts) => ValueKind::Texts(Tags { tags: texts.clone() }),
                V::Vector(values) => ValueKind::Vector(Vector { values: values.clone() }),
                V::Map(map) => {
                    let (names, numbers) = map.iter().cloned().unzip();
                    ValueKind::Map(Map { names, numbers })
                }
            }),
        }
    }
}

impl From<Value> for Option<types::FeatureValue> {
    fn from(value: Value) -> Self {
        use types::FeatureValue as V;
        Some(match value.kind? {
            ValueKind::Number(number) => V::Number(number),
            ValueKind::Text(text) => V::Text(text),
            ValueKind::Bool(truth) => V::Bool(truth),
            ValueKind::Time(micros) => V::Time(Timestamp::from_micros(micros)),
            ValueKind::Texts(Tags { tags }) => V::Texts(tags),
            ValueKind::Vector(Vector { values }) => V::Vector(values),
            ValueKind::Map(Map { names, numbers }) => V::Map(names.into_iter().zip(numbers).collect()),
        })
    }
}

impl From<&types::FeatureRow> for FeatureRow {
    fn from(row: &types::FeatureRow) -> Self {
        let named = |(name, value): &(String, types::FeatureValue)| NamedValue {
            name: name.clone(),
            value: Some(value.into()),
        };
        Self {
            view: row.view.clone(),
            user_id: row.user_id.clone(),
            item_id: row.item_id.clone(),
            event_timestamp: row.event_timestamp.as_micros(),
            created: row.created.map(|at| at.as_micros()),
            values: row.values.iter().map(named).collect(),
        }
    }
}

impl From<FeatureRow> for types::FeatureRow {
    fn from(row: FeatureRow) -> Self {
        let named = |NamedValue { name, value }| Some((name, Option::from(value?)?));
        Self {
            view: row.view,
            user_id: row.user_id,
            item_id: row.item_id,
            event_timestamp: Timestamp::from_micros(row.event_timestamp),
            created: row.created.map(Timestamp::from_micros),
            values: row.values.into_iter().filter_map(named).collect(),
        }
    }
}

impl From<&types::ServedFeatures> for ServedFeatures {
    fn from(features: &types::ServedFeatures) -> Self {
        let column = |(feature, values): &(String, Vec<Option<types::FeatureValue>>)| Column {
            feature: feature.clone(),
            values: values.iter().map(|value| value.as_ref().map(Value::from).unwrap_or_default()).collect(),
        };
        Self {
            user_version: to_stored(features.user_version),
            catalog_version: to_stored(features.catalog_version),
            item_versions: features.item_versions.iter().copied().map(to_stored).collect(),
            pair_versions: features.pair_versions.iter().copied().map(to_stored).collect(),
            context: to_wire(&features.context),
            values: features.values.iter().map(column).collect(),
            fingerprints: features.fingerprints.clone(),
        }
    }
}

impl From<ServedFeatures> for types::ServedFeatures {
    fn from(features: ServedFeatures) -> Self {
        let column = |Column { feature, values }| (feature, values.into_iter().map(Option::from).collect());
        Self {
            user_version: from_stored(features.user_version),
            catalog_version: from_stored(features.catalog_version),
            item_versions: features.item_versions.into_iter().map(from_stored).collect(),
            pair_versions: features.pair_versions.into_iter().map(from_stored).collect(),
            context: from_wire(features.context),
            values: features.values.into_iter().map(column).collect(),
            fingerprints: features.fingerprints,
        }
    }
}
