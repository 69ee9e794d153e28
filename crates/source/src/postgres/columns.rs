//! The columns of a table, and how the value of each is read: every type that an attribute can come from is cast, by the database,
//! to one of a few that we decode.

use tastemaker_types::AttributeType;
use tastemaker_types::attribute::{MAX_TAGS, MAX_TEXT_BYTES};

use super::quote::identifier;

/// A column as the catalog of the database has it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As a person writes the type.
    pub(crate) type_name: String,
    pub(crate) kind: Kind,
}

/// What a type is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// `char(n)`, whose comparison is its own.
    PaddedText,
    TextArray,
    Enum,
    Integer,
    Float,
    Numeric,
    Bool,
    Uuid,
    /// A timestamp with time zone.
    Instant,
    /// A timestamp without one, taken to be UTC.
    LocalTime,
    Date,
    Other,
}

impl Kind {
    /// From the name of the type (of the type below it, for a domain), its category, and that of its elements.
    pub(crate) fn of(name: &str, category: &str, element: Option<&str>) -> Self {
        match (name, category) {
            ("bpchar", _) => Self::PaddedText,
            ("int2" | "int4" | "int8", _) => Self::Integer,
            ("float4" | "float8", _) => Self::Float,
            ("numeric", _) => Self::Numeric,
            ("bool", _) => Self::Bool,
            ("uuid", _) => Self::Uuid,
            ("timestamptz", _) => Self::Instant,
            ("timestamp", _) => Self::LocalTime,
            ("date", _) => Self::Date,
            (_, "S") => Self::Text,
            (_, "E") => Self::Enum,
            (_, "A") if matches!(element, Some("S" | "E")) => Self::TextArray,
            _ => Self::Other,
        }
    }
}

/// The type that a column is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Text,
    TextArray,
    Float,
    /// A number of any size, as text.
    Numeric,
    Bool,
    Micros,
}

/// How an attribute of this type is read from the column; what to do instead if it cannot be.
pub(crate) fn read(column: &Column, attribute: AttributeType) -> Result<(Wire, String), &'static str> {
    let name = identifier(&column.name);
    use AttributeType as A;
    Ok(match (attribute, column.kind) {
        (A::Tag | A::Text, Kind::Text | Kind::PaddedText | Kind::Enum | Kind::Uuid | Kind::Integer) => {
            (Wire::Text, text(&name))
        }
        (A::Tag | A::Text, _) => {
            return Err("use a column of text, an enum, an integer or a uuid, or cast it in a view");
        }
        (A::Tags, Kind::TextArray) => (Wire::TextArray, texts(&name)),
        (A::Tags, _) => return Err("use a column of text[], or make one in a view"),
        (A::Number, Kind::Integer | Kind::Float) => (Wire::Float, format!("{name}::float8")),
        (A::Number, Kind::Numeric) => (Wire::Numeric, format!("{name}::text")),
        (A::Number, _) => return Err("use a column of numeric, an integer or a float, or cast it in a view"),
        (A::Bool, Kind::Bool) => (Wire::Bool, format!("{name}::bool")),
        (A::Bool, _) => return Err("use a column of boolean, or compare in a view"),
        (A::Time, Kind::Instant | Kind::LocalTime | Kind::Date) => (Wire::Micros, micros(&name)),
        (A::Time, _) => return Err("use a column of timestamptz, timestamp or date, or cast it in a view"),
    })
}

/// Microseconds since 1970; NULL for infinity and outside of the years that we know.
pub(crate) fn micros(name: &str) -> String {
    format!("CASE WHEN {} THEN (extract(epoch FROM {name}) * 1000000)::int8 END", in_range(name))
}

/// Whether a time is one that we know.
pub(crate) fn in_range(name: &str) -> String {
    format!("{name} >= '0001-01-02' AND {name} < '9999-12-30'")
}

// One more than is allowed is read of what is too large, so that it is noticed without being carried over.
fn text(name: &str) -> String {
    format!("left({name}::text, {})", MAX_TEXT_BYTES + 1)
}

/// A list without NULLs, whatever its dimensions.
fn texts(name: &str) -> String {
    let (most, longest) = (MAX_TAGS + 1, MAX_TEXT_BYTES + 1);
    format!(
        "CASE WHEN {name} IS NOT NULL THEN ARRAY(SELECT left(e, {longest}) FROM unnest({name}::text[]) AS u(e) \
         WHERE e IS NOT NULL LIMIT {most}) END"
    )
}
