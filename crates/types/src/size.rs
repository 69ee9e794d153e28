//! How large a record is once it is encoded, told without encoding it: what limits and batches go by. The encoding itself is the
//! log's business, and a test there holds the two to each other.

use crate::{Attributes, EntityUpsert, Event, FeatureRow, FeatureValue, Record, Served, ServedFeatures, Value};

/// The largest record that is taken.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// A record over [`MAX_RECORD_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it has {bytes} bytes in all; at most {MAX_RECORD_BYTES} are taken, so keep large texts elsewhere")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

impl Record {
    /// Its encoded size in bytes with the length before it, or a few bytes more (a field that has its default value takes none).
    pub fn size_bound(&self) -> usize {
        framed(match self {
            Self::Event(event) => event_size(event),
            Self::ItemUpsert(upsert) | Self::UserUpsert(upsert) => upsert_size(upsert),
            Self::ItemDelete { id, .. } | Self::UserDelete { id, .. } => text(id) + NUMBER,
            Self::Served(served) => served_size(served),
            Self::FeatureRow(row) => return row.size_bound(),
        })
    }

    /// Checks that the log takes it.
    ///
    /// # Errors
    /// It is too large.
    pub fn check_size(&self) -> Result<(), TooLarge> {
        let bytes = self.size_bound();
        if bytes > MAX_RECORD_BYTES { Err(TooLarge { bytes }) } else { Ok(()) }
    }
}

impl FeatureRow {
    /// As [`Record::size_bound`].
    pub fn size_bound(&self) -> usize {
        let value = |(name, value): &(String, FeatureValue)| field(text(name) + field(feature_size(value)));
        let ids = maybe(self.user_id.as_ref()) + maybe(self.item_id.as_ref());
        framed(text(&self.view) + ids + 2 * NUMBER + self.values.iter().map(value).sum::<usize>())
    }
}

/// A time or a floating-point number, with the tag of its field.
const NUMBER: usize = 9;
/// The longest integer of variable length.
const VARINT: usize = 10;

/// A field of so many bytes: its tag, its length, its content.
fn field(bytes: usize) -> usize {
    let length = match bytes {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 5,
    };
    1 + length + bytes
}

/// A record of this content: the field of its kind, and the length before it.
fn framed(content: usize) -> usize {
    field(field(content))
}

fn text(text: &str) -> usize {
    field(text.len())
}

fn texts(texts: &[String]) -> usize {
    texts.iter().map(|content| text(content)).sum()
}

fn maybe(id: Option<&String>) -> usize {
    id.map_or(0, |id| text(id))
}

fn event_size(event: &Event) -> usize {
    let ids: usize =
        [&event.event_id, &event.event_type, &event.user_id, &event.item_id].map(|id| text(id)).iter().sum();
    let others = maybe(event.session_id.as_ref()) + maybe(event.request_id.as_ref());
    // When it happened, when it was received, its value.
    ids + others + 3 * NUMBER + attributes_size(&event.properties)
}

fn upsert_size(upsert: &EntityUpsert) -> usize {
    text(&upsert.id) + 2 * NUMBER + attributes_size(&upsert.attributes)
}

fn attributes_size(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| field(text(name) + value_size(value))).sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::Time(_) => NUMBER,
        Value::Text(content) => text(content),
        Value::Tags(tags) => field(texts(tags)),
    }
}

fn served_size(served: &Served) -> usize {
    let items: usize = served.items.iter().map(|item| field(text(&item.item_id) + NUMBER)).sum();
    let features = served.features.as_ref().map_or(0, |features| field(features_size(features)));
    text(&served.request_id)
        + text(&served.user_id)
        + NUMBER
        + (1 + VARINT)
        + items
        + texts(&served.degraded)
        + features
}

fn features_size(features: &ServedFeatures) -> usize {
    let integers = [&features.item_versions, &features.pair_versions].map(|versions| field(versions.len() * VARINT));
    let values = |values: &[Option<FeatureValue>]| -> usize {
        values.iter().map(|value| field(value.as_ref().map_or(0, feature_size))).sum()
    };
    let columns = features.values.iter().map(|(name, column)| field(text(name) + values(column)));
    integers.iter().sum::<usize>()
        + 2 * (1 + VARINT)
        + field(features.fingerprints.len() * size_of::<u64>())
        + attributes_size(&features.context)
        + columns.sum::<usize>()
}

fn feature_size(value: &FeatureValue) -> usize {
    match value {
        FeatureValue::Number(_) | FeatureValue::Bool(_) | FeatureValue::Time(_) => NUMBER,
        FeatureValue::Text(content) => text(content),
        FeatureValue::Texts(content) => field(texts(content)),
        FeatureValue::Vector(vector) => field(field(vector.len() * size_of::<f32>())),
        FeatureValue::Map(map) => {
            let names: usize = map.iter().map(|(name, _)| text(name)).sum();
            field(names + field(map.len() * size_of::<f64>()))
        }
    }
}
