//! One value of one item, borrowed from a change where it can be, checked against the declared type.

use std::borrow::Cow;

use tastemaker_types::{AttributeError, AttributeSchema, AttributeType, Value};

/// What a column takes for one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Number(f64),
    Bool(bool),
    /// Microseconds.
    Time(i64),
    /// A tag or a text.
    Text(Cow<'a, str>),
    /// Sorted, without repetition.
    Tags(Vec<Cow<'a, str>>),
}

/// The largest value, in bytes: a chunk of them still fits 32-bit offsets.
const MAX_BYTES: usize = i32::MAX as usize / super::chunk::CHUNK_ROWS;

impl<'a> Cell<'a> {
    /// Checks `value` against the declared type of `name`; `declared` is that type.
    pub(super) fn new(
        attributes: &AttributeSchema,
        name: &str,
        declared: AttributeType,
        value: &'a Value,
    ) -> Result<Self, AttributeError> {
        let cell = match (declared, value) {
            (AttributeType::Tag | AttributeType::Text, Value::Text(text)) => Self::Text(Cow::Borrowed(text)),
            (AttributeType::Number, Value::Number(number)) if number.is_finite() => Self::Number(*number),
            (AttributeType::Bool, Value::Bool(value)) => Self::Bool(*value),
            (AttributeType::Time, Value::Time(time)) => Self::Time(time.as_micros()),
            (AttributeType::Tags, Value::Tags(tags)) => {
                let mut tags: Vec<_> = tags.iter().map(|tag| Cow::Borrowed(tag.as_str())).collect();
                tags.sort_unstable();
                tags.dedup();
                Self::Tags(tags)
            }
            _ => match attributes.coerce(name, value.clone())? {
                Value::Text(text) => Self::Text(Cow::Owned(text)),
                Value::Number(number) => Self::Number(number),
                Value::Bool(value) => Self::Bool(value),
                Value::Time(time) => Self::Time(time.as_micros()),
                Value::Tags(tags) => Self::Tags(tags.into_iter().map(Cow::Owned).collect()),
            },
        };
        let bytes = match &cell {
            Self::Text(text) => text.len(),
            Self::Tags(tags) => tags.iter().map(|tag| tag.len()).sum(),
            _ => 0,
        };
        if bytes > MAX_BYTES {
            return Err(AttributeError::TooLarge {
                name: name.to_owned(),
                size: format!("{bytes} bytes"),
                limit: format!("{MAX_BYTES} bytes"),
            });
        }
        Ok(cell)
    }
}
