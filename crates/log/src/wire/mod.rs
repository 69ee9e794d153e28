//! How a record looks on disk: protobuf messages, written by hand, with stable tags. A tag is never given a new meaning;
//! unknown fields are skipped, so that older programs read what newer ones add. Only this module knows these types.

mod features;

use prost::{Message, Oneof};
use tastemaker_types as types;
use tastemaker_types::{Attributes, Timestamp};

/// A log record; exactly one kind is set.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Event(Event),
    #[prost(message, tag = "2")]
    ItemUpsert(Upsert),
    #[prost(message, tag = "3")]
    ItemDelete(Delete),
    #[prost(message, tag = "4")]
    UserUpsert(Upsert),
    #[prost(message, tag = "5")]
    UserDelete(Delete),
    #[prost(message, tag = "6")]
    Served(Served),
    #[prost(message, tag = "7")]
    FeatureRow(features::FeatureRow),
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    event_type: String,
    #[prost(string, tag = "3")]
    user_id: String,
    #[prost(string, tag = "4")]
    item_id: String,
    #[prost(sfixed64, tag = "5")]
    timestamp: i64,
    #[prost(double, optional, tag = "6")]
    value: Option<f64>,
    #[prost(string, optional, tag = "7")]
    session_id: Option<String>,
    #[prost(string, optional, tag = "8")]
    request_id: Option<String>,
    #[prost(message, repeated, tag = "9")]
    properties: Vec<Attribute>,
    #[prost(sfixed64, optional, tag = "10")]
    received: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "Value", tags = "2, 3, 4, 5, 6")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(double, tag = "3")]
    Number(f64),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(sfixed64, tag = "5")]
    Time(i64),
    #[prost(message, tag = "6")]
    Tags(Tags),
}

#[derive(Clone, PartialEq, Message)]
struct Tags {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Upsert {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, repeated, tag = "2")]
    attributes: Vec<Attribute>,
    /// Whether attributes that are not named stay.
    #[prost(bool, tag = "3")]
    merge: bool,
    #[prost(sfixed64, tag = "4")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Delete {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sfixed64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Served {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    user_id: String,
    #[prost(sfixed64, tag = "3")]
    timestamp: i64,
    #[prost(uint64, optional, tag = "4")]
    generation: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    items: Vec<ServedItem>,
    #[prost(string, repeated, tag = "6")]
    degraded: Vec<String>,
    #[prost(message, optional, tag = "7")]
    features: Option<features::ServedFeatures>,
}

#[derive(Clone, PartialEq, Message)]
struct ServedItem {
    #[prost(string, tag = "1")]
    item_id: String,
    #[prost(float, tag = "2")]
    score: f32,
}

/// Reads what finds an event again, and skips all else.
#[derive(Clone, PartialEq, Message)]
struct KeyOnly {
    #[prost(message, optional, tag = "1")]
    event: Option<EventKey>,
}

#[derive(Clone, PartialEq, Message)]
struct EventKey {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(sfixed64, tag = "5")]
    timestamp: i64,
}

/// Appends `record` with its length before it; returns its encoded size without the length.
pub(crate) fn encode(record: &types::Record, out: &mut Vec<u8>) -> usize {
    let message = Record::from(record);
    let size = message.encoded_len();
    prost::encoding::encode_varint(size as u64, out);
    message.encode_raw(out);
    size
}

/// Takes the next length-prefixed record off the front of `bytes`, undecoded.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn split_first<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let size = prost::encoding::decode_varint(bytes).map_err(|e| e.to_string())?;
    let size = usize::try_from(size).map_err(|e| e.to_string())?;
    let (record, rest) = bytes
        .split_at_checked(size)
        .ok_or_else(|| format!("a record claims {size} bytes, but its frame has {} left", bytes.len()))?;
    *bytes = rest;
    Ok(record)
}

/// Decodes what [`split_first`] took.
///
/// # Errors
/// What is wrong with the bytes, or that the kind of record is unknown here.
pub(crate) fn decode(bytes: &[u8]) -> Result<types::Record, String> {
    let message = Record::decode(bytes).map_err(|e| e.to_string())?;
    let kind = message.kind.ok_or("a kind of record that this version does not know; use a newer version")?;
    Ok(types::Record::from(kind))
}

/// Whether what [`split_first`] took is an event, from its first byte alone: nothing but the kind is at the top of a record.
pub(crate) fn is_event(bytes: &[u8]) -> bool {
    /// Field 1, length-delimited.
    const EVENT: u8 = 1 << 3 | 2;
    bytes.first() == Some(&EVENT)
}

/// Event id and time of a record, without decoding the rest; `None` if it is no event.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn decode_event_key(bytes: &[u8]) -> Result<Option<(String, Timestamp)>, String> {
    let message = KeyOnly::decode(bytes).map_err(|e| e.to_string())?;
    Ok(message.event.map(|event| (event.event_id, Timestamp::from_micros(event.timestamp))))
}

impl From<&types::Record> for Record {
    fn from(record: &types::Record) -> Self {
        let kind = match record {
            types::Record::Event(event) => Kind::Event(event.into()),
            types::Record::ItemUpsert(upsert) => Kind::ItemUpsert(upsert.into()),
            types::Record::ItemDelete { id, timestamp } => Kind::ItemDelete(Delete::new(id, *timestamp)),
            types::Record::UserUpsert(upsert) => Kind::UserUpsert(upsert.into()),
            types::Record::UserDelete { id, timestamp } => Kind::UserDelete(Delete::new(id, *timestamp)),
            types::Record::Served(served) => Kind::Served(served.into()),
            types::Record::FeatureRow(row) => Kind::FeatureRow(row.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<Kind> for types::Record {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Event(event) => Self::Event(event.into()),
            Kind::ItemUpsert(upsert) => Self::ItemUpsert(upsert.into()),
            Kind::ItemDelete(Delete { id, timestamp }) => {
                Self::ItemDelete { id, timestamp: Timestamp::from_micros(timestamp) }
            }
            Kind::UserUpsert(upsert) => Self::UserUpsert(upsert.into()),
            Kind::UserDelete(Delete { id, timestamp }) => {
                Self::UserDelete { id, timestamp: Timestamp::from_micros(timestamp) }
            }
            Kind::Served(served) => Self::Served(served.into()),
            Kind::FeatureRow(row) => Self::FeatureRow(row.into()),
        }
    }
}

impl From<&types::Event> for Event {
    fn from(event: &types::Event) -> Self {
        Self {
            event_id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            user_id: event.user_id.clone(),
            item_id: event.item_id.clone(),
            timestamp: event.timestamp.as_micros(),
            received: event.received.map(Timestamp::as_micros),
            value: event.value,
            session_id: event.session_id.clone(),
            request_id: event.request_id.clone(),
            properties: to_wire(&event.properties),
        }
    }
}

impl From<Event> for types::Event {
    fn from(event: Event) -> Self {
        Self {
            event_id: event.event_id,
            event_type: event.event_type,
            user_id: event.user_id,
            item_id: event.item_id,
            timestamp: Timestamp::from_micros(event.timestamp),
            received: event.received.map(Timestamp::from_micros),
            value: event.value,
            session_id: event.session_id,
            request_id: event.request_id,
            properties: from_wire(event.properties),
        }
    }
}

fn to_wire(attributes: &Attributes) -> Vec<Attribute> {
    attributes
        .iter()
        .map(|(name, value)| Attribute {
            name: name.clone(),
            value: Some(match value {
                types::Value::Text(text) => Value::Text(text.clone()),
                types::Value::Number(number) => Value::Number(*number),
                types::Value::Bool(truth) => Value::Bool(*truth),
                types::Value::Time(time) => Value::Time(time.as_micros()),
                types::Value::Tags(tags) => Value::Tags(Tags { tags: tags.clone() }),
            }),
        })
        .collect()
}

/// An attribute whose kind of value is unknown here is left out, like any unknown field.
fn from_wire(attributes: Vec<Attribute>) -> Attributes {
    attributes
        .into_iter()
        .filter_map(|attribute| {
            let value = match attribute.value? {
                Value::Text(text) => types::Value::Text(text),
                Value::Number(number) => types::Value::Number(number),
                Value::Bool(truth) => types::Value::Bool(truth),
                Value::Time(micros) => types::Value::Time(Timestamp::from_micros(micros)),
                Value::Tags(Tags { tags }) => types::Value::Tags(tags),
            };
            Some((attribute.name, value))
        })
        .collect()
}

impl From<&types::EntityUpsert> for Upsert {
    fn from(upsert: &types::EntityUpsert) -> Self {
        Self {
            id: upsert.id.clone(),
            attributes: to_wire(&upsert.attributes),
            merge: upsert.mode == types::UpsertMode::Merge,
            timestamp: upsert.timestamp.as_micros(),
        }
    }
}

impl From<Upsert> for types::EntityUpsert {
    fn from(upsert: Upsert) -> Self {
        Self {
            id: upsert.id,
            attributes: from_wire(upsert.attributes),
            mode: if upsert.merge { types::UpsertMode::Merge } else { types::UpsertMode::Replace },
            timestamp: Timestamp::from_micros(upsert.timestamp),
        }
    }
}

impl Delete {
    fn new(id: &str, timestamp: Timestamp) -> Self {
        Self { id: id.to_owned(), timestamp: timestamp.as_micros() }
    }
}

impl From<&types::Served> for Served {
    fn from(served: &types::Served) -> Self {
        Self {
            request_id: served.request_id.clone(),
            user_id: served.user_id.clone(),
            timestamp: served.timestamp.as_micros(),
            generation: served.generation,
            items: served
                .items
                .iter()
                .map(|item| ServedItem { item_id: item.item_id.clone(), score: item.score })
                .collect(),
            degraded: served.degraded.clone(),
            features: served.features.as_ref().map(features::ServedFeatures::from),
        }
    }
}

impl From<Served> for types::Served {
    fn from(served: Served) -> Self {
        Self {
            request_id: served.request_id,
            user_id: served.user_id,
            timestamp: Timestamp::from_micros(served.timestamp),
            generation: served.generation,
            items: served
                .items
                .into_iter()
                .map(|item| types::ServedItem { item_id: item.item_id, score: item.score })
                .collect(),
            degraded: served.degraded,
            features: served.features.map(types::ServedFeatures::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::{EntityUpsert, UpsertMode};

    use super::*;

    fn attributes() -> impl Strategy<Value = Attributes> {
        let value = prop_oneof![
            ".{0,9}".prop_map(types::Value::Text),
            any::<f64>().prop_filter("not equal to itself", |n| !n.is_nan()).prop_map(types::Value::Number),
            any::<bool>().prop_map(types::Value::Bool),
            any::<i64>().prop_map(|micros| types::Value::Time(Timestamp::from_micros(micros))),
            prop::collection::vec(".{0,5}", 0..4).prop_map(types::Value::Tags),
        ];
        prop::collection::btree_map(".{0,6}", value, 0..4)
    }

    fn record() -> impl Strategy<Value = types::Record> {
        let time = || any::<i64>().prop_map(Timestamp::from_micros);
        let text = ".{0,12}";
        let event = (text, text, text, text, time(), prop::option::of(0f64..1e9), prop::option::of(text), attributes());
        let event =
            event.prop_map(|(event_id, event_type, user_id, item_id, timestamp, value, session_id, properties)| {
                types::Event {
                    event_id,
                    event_type,
                    user_id,
                    item_id,
                    timestamp,
                    received: value.map(|_| timestamp),
                    value,
                    request_id: session_id.clone().map(|id| id + "r"),
                    session_id,
                    properties,
                }
            });
        let upsert = || {
            (text, attributes(), any::<bool>(), time()).prop_map(|(id, attributes, merge, timestamp)| {
                let mode = if merge { UpsertMode::Merge } else { UpsertMode::Replace };
                EntityUpsert { id, attributes, mode, timestamp }
            })
        };
        let served = (text, time(), prop::option::of(any::<u64>()), prop::collection::vec((text, 0f32..9.0), 0..4));
        let served = served.prop_map(|(request_id, timestamp, generation, items)| types::Served {
            user_id: request_id.clone() + "u",
            degraded: items.iter().map(|(id, _)| id.clone()).collect(),
            items: items.into_iter().map(|(item_id, score)| types::ServedItem { item_id, score }).collect(),
            request_id,
            timestamp,
            generation,
            features: None,
        });
        let value = || {
            prop_oneof![
                any::<f64>().prop_filter("not equal to itself", |n| !n.is_nan()).prop_map(types::FeatureValue::Number),
                text.prop_map(types::FeatureValue::Text),
                any::<bool>().prop_map(types::FeatureValue::Bool),
                time().prop_map(types::FeatureValue::Time),
                prop::collection::vec(text, 0..3).prop_map(types::FeatureValue::Texts),
                prop::collection::vec(-9f32..9.0, 0..5).prop_map(types::FeatureValue::Vector),
                prop::collection::vec((text, -9f64..9.0), 0..3).prop_map(types::FeatureValue::Map),
            ]
        };
        let row = (
            text,
            prop::option::of(text),
            time(),
            prop::option::of(time()),
            prop::collection::vec((text, value()), 0..4),
        );
        let row = row.prop_map(|(view, user_id, event_timestamp, created, values)| types::FeatureRow {
            item_id: user_id.clone().map(|id| id + "i"),
            view,
            user_id,
            event_timestamp,
            created,
            values,
        });
        let version = || prop::option::of((0u64..1_000_000).prop_map(types::Position));
        let columns = prop::collection::vec((text, prop::collection::vec(prop::option::of(value()), 0..4)), 0..3);
        let served_with = (served.clone(), version(), prop::collection::vec(version(), 0..4), attributes(), columns);
        let served_with = served_with.prop_map(|(mut served, user_version, item_versions, context, values)| {
            served.features = Some(types::ServedFeatures {
                user_version,
                catalog_version: item_versions.first().copied().flatten(),
                pair_versions: item_versions.iter().rev().copied().collect(),
                item_versions,
                context,
                fingerprints: values.iter().map(|(name, _)| name.len() as u64).collect(),
                values,
            });
            served
        });
        prop_oneof![
            event.prop_map(types::Record::Event),
            upsert().prop_map(types::Record::ItemUpsert),
            upsert().prop_map(types::Record::UserUpsert),
            (text, time()).prop_map(|(id, timestamp)| types::Record::ItemDelete { id, timestamp }),
            (text, time()).prop_map(|(id, timestamp)| types::Record::UserDelete { id, timestamp }),
            served.prop_map(types::Record::Served),
            served_with.prop_map(types::Record::Served),
            row.prop_map(types::Record::FeatureRow),
        ]
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(records in prop::collection::vec(record(), 0..5)) {
            let mut bytes = Vec::new();
            for record in &records {
                let before = bytes.len();
                encode(record, &mut bytes);
                let (size, bound) = (bytes.len() - before, record.size_bound());
                prop_assert!((size..=4 * size + 128).contains(&bound), "{size} bytes, bound {bound}: {record:?}");
            }
            let mut rest = &bytes[..];
            for record in records {
                let encoded = split_first(&mut rest).unwrap();
                let key = match &record {
                    types::Record::Event(event) => Some((event.event_id.clone(), event.timestamp)),
                    _ => None,
                };
                prop_assert_eq!(decode_event_key(encoded).unwrap(), key);
                prop_assert_eq!(decode(encoded).unwrap(), record);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn rubbish_is_an_error_or_a_record_but_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut rest = &bytes[..];
            let _ = split_first(&mut rest);
            let _ = decode(&bytes);
            let _ = decode_event_key(&bytes);
        }
    }

    #[test]
    fn unknown_fields_are_skipped_and_unknown_kinds_are_named() {
        // ItemDelete { id: "a" } with a field 15 from a later version inside of it, and a field 16 beside it.
        let later = [0x1a, 5, 0x0a, 1, b'a', 0x78, 7, 0x80, 0x01, 9];
        let expected = types::Record::ItemDelete { id: "a".to_owned(), timestamp: Timestamp::EPOCH };
        assert_eq!(decode(&later), Ok(expected));
        let unknown_kind = [0x7a, 0];
        assert!(decode(&unknown_kind).unwrap_err().contains("newer version"));
    }
}
