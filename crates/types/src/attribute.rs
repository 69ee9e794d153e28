//! Typed attributes of items and users: the values, their declared types, and the schema that checks one against the
//! other.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, did_you_mean};

/// The attributes of one entity by name, in name order.
pub type Attributes = BTreeMap<String, Value>;

/// The longest text value, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The most tags in one value.
pub const MAX_TAGS: usize = 1_024;

/// The declared type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttributeType {
    /// One of a limited set of labels, compared for equality (`category`, `brand`).
    Tag,
    /// A set of labels (`genres`).
    Tags,
    /// Free text, such as a title; not meant for filtering.
    Text,
    /// A finite 64-bit float.
    Number,
    /// True or false.
    Bool,
    /// An instant.
    Time,
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tag => "tag",
            Self::Tags => "tags",
            Self::Text => "text",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Time => "time",
        })
    }
}

/// A value of an attribute or an event property. As JSON it is the plain value: `"red"`, `9.5`, `true`, `["a","b"]`; a
/// [`Value::Time`] is written as RFC 3339 text and becomes a time again through its [`AttributeSchema`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A label or a text.
    Text(String),
    /// A set of labels.
    Tags(Vec<String>),
    /// An instant; text in JSON, so this variant is made by [`AttributeSchema::coerce`] alone.
    #[serde(skip_deserializing)]
    Time(Timestamp),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "text",
            Self::Tags(_) => "a list of texts",
            Self::Time(_) => "time",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::Number(v) => write!(f, "{v}"),
            Self::Text(v) => f.write_str(v),
            Self::Tags(v) => f.write_str(&v.join("|")),
            Self::Time(v) => write!(f, "{v}"),
        }
    }
}

/// Why attributes do not fit their schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The schema has no such attribute.
    #[error("unknown attribute '{name}'{hint}")]
    Unknown {
        /// The name that was given.
        name: String,
        /// The nearest or all known names.
        hint: String,
    },
    /// The value cannot be of the declared type.
    #[error("attribute '{name}' is declared as {expected}, but {found} was given: {reason}")]
    Type {
        /// The attribute.
        name: String,
        /// Its declared type.
        expected: AttributeType,
        /// What was given.
        found: &'static str,
        /// What to give instead.
        reason: String,
    },
    /// The value is too large.
    #[error("attribute '{name}' is too large: {size}; at most {limit}")]
    TooLarge {
        /// The attribute.
        name: String,
        /// Its size, with the unit.
        size: String,
        /// The limit, with the unit.
        limit: String,
    },
}

/// The declared attributes of one entity, in declaration order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AttributeSchema {
    fields: Vec<(String, AttributeType)>,
}

impl AttributeSchema {
    /// From names and types; the caller has made sure that names are unique.
    pub fn new(fields: impl IntoIterator<Item = (String, AttributeType)>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// Names and types in declaration order.
    pub fn fields(&self) -> &[(String, AttributeType)] {
        &self.fields
    }

    /// The declared type of `name`.
    pub fn get(&self, name: &str) -> Option<AttributeType> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, t)| *t)
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Checks every attribute and turns each value into its declared type.
    ///
    /// # Errors
    /// The first attribute that is unknown, of another type, or too large.
    pub fn coerce_all(&self, attributes: Attributes) -> Result<Attributes, AttributeError> {
        attributes.into_iter().map(|(name, value)| self.coerce(&name, value).map(|value| (name, value))).collect()
    }

    /// Turns `value` into the declared type of `name`: a time from text or number, tags from one text (`a|b` splits at
    /// the bar), a number or bool from nothing but its own kind.
    ///
    /// # Errors
    /// [`AttributeError`] names the attribute and what it takes.
    pub fn coerce(&self, name: &str, value: Value) -> Result<Value, AttributeError> {
        let Some(expected) = self.get(name) else {
            let hint = match self.is_empty() {
                true => "; none is declared".to_owned(),
                false => did_you_mean(name, self.fields.iter().map(|(n, _)| n.as_str())),
            };
            return Err(AttributeError::Unknown { name: name.to_owned(), hint });
        };
        let refuse = |found: &'static str, reason: &str| AttributeError::Type {
            name: name.to_owned(),
            expected,
            found,
            reason: reason.to_owned(),
        };
        check_size(name, &value)?;
        let kind = value.kind();
        match (expected, value) {
            (AttributeType::Tag | AttributeType::Text, v @ Value::Text(_))
            | (AttributeType::Bool, v @ Value::Bool(_))
            | (AttributeType::Time, v @ Value::Time(_)) => Ok(v),
            (AttributeType::Number, Value::Number(n)) if n.is_finite() => Ok(Value::Number(n)),
            (AttributeType::Tags, Value::Tags(mut tags)) => {
                tags.sort_unstable();
                tags.dedup();
                Ok(Value::Tags(tags))
            }
            (AttributeType::Tags, Value::Text(text)) => {
                let tags = text.split('|').filter(|t| !t.is_empty()).map(str::to_owned).collect();
                self.coerce(name, Value::Tags(tags))
            }
            (AttributeType::Time, Value::Text(text)) => {
                text.parse().map(Value::Time).map_err(|e| refuse(kind, &e.to_string()))
            }
            (AttributeType::Time, Value::Number(n)) => {
                Timestamp::from_number(n).map(Value::Time).map_err(|e| refuse(kind, &e.to_string()))
            }
            (AttributeType::Number, Value::Number(_)) => Err(refuse(kind, "it must be finite")),
            (AttributeType::Number, _) => Err(refuse(kind, "give a JSON number, such as 9.5")),
            (AttributeType::Bool, _) => Err(refuse(kind, "give true or false")),
            (AttributeType::Tag | AttributeType::Text, _) => Err(refuse(kind, "give a JSON string")),
            (AttributeType::Tags, _) => Err(refuse(kind, "give a JSON list of strings")),
            (AttributeType::Time, _) => Err(refuse(kind, "give RFC 3339 text or a number since 1970")),
        }
    }
}

fn check_size(name: &str, value: &Value) -> Result<(), AttributeError> {
    let too_large = |size: String, limit: String| AttributeError::TooLarge { name: name.to_owned(), size, limit };
    let texts: &[String] = match value {
        Value::Text(text) => std::slice::from_ref(text),
        Value::Tags(tags) => tags,
        _ => &[],
    };
    if texts.len() > MAX_TAGS {
        return Err(too_large(format!("{} tags", texts.len()), format!("{MAX_TAGS} tags")));
    }
    match texts.iter().map(String::len).max() {
        Some(bytes) if bytes > MAX_TEXT_BYTES => {
            Err(too_large(format!("{bytes} bytes"), format!("{MAX_TEXT_BYTES} bytes")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> AttributeSchema {
        AttributeSchema::new([
            ("category".to_owned(), AttributeType::Tag),
            ("genres".to_owned(), AttributeType::Tags),
            ("price".to_owned(), AttributeType::Number),
            ("released".to_owned(), AttributeType::Time),
        ])
    }

    #[test]
    fn values_take_their_declared_type() {
        let schema = schema();
        let tags = schema.coerce("genres", Value::Text("Drama|Comedy|Drama".into())).unwrap();
        assert_eq!(tags, Value::Tags(vec!["Comedy".into(), "Drama".into()]));
        let time = schema.coerce("released", Value::Text("1970-01-02".into())).unwrap();
        assert_eq!(time, Value::Time(Timestamp::from_micros(86_400_000_000)));
        assert_eq!(schema.coerce("price", Value::Number(2.5)).unwrap(), Value::Number(2.5));
    }

    #[test]
    fn an_unknown_attribute_is_refused_with_a_suggestion() {
        let error = schema().coerce("prise", Value::Number(1.0)).unwrap_err();
        assert_eq!(error.to_string(), "unknown attribute 'prise'; did you mean 'price'?");
    }

    #[test]
    fn a_wrong_type_names_the_attribute_and_the_remedy() {
        let error = schema().coerce("price", Value::Text("cheap".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attribute 'price' is declared as number, but text was given: give a JSON number, such as 9.5"
        );
        assert!(schema().coerce("price", Value::Number(f64::NAN)).is_err());
    }

    #[test]
    fn values_without_end_are_refused() {
        let long = Value::Text("x".repeat(MAX_TEXT_BYTES + 1));
        assert!(matches!(schema().coerce("category", long), Err(AttributeError::TooLarge { .. })));
        let many = Value::Tags(vec!["t".into(); MAX_TAGS + 1]);
        assert!(matches!(schema().coerce("genres", many), Err(AttributeError::TooLarge { .. })));
    }
}
