//! One row of any file: named columns of untyped cells, borrowed from the reader that made them.

use std::borrow::Cow;

use serde_json::{Map, Value};
use tastemaker_types::Timestamp;

use crate::{ImportError, Refusal};

/// One value as the file has it, before the project's types are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Cell<'a> {
    /// Nothing: an empty text, a null, a column that a row has not.
    #[default]
    Empty,
    Text(Cow<'a, str>),
    Integer(i64),
    Number(f64),
    Bool(bool),
    Time(Timestamp),
    List(Vec<String>),
    Object(Map<String, Value>),
}

impl<'a> Cell<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(Cow::Borrowed(text)) }
    }

    /// From JSON. A list of anything but texts, numbers and booleans is kept as JSON text.
    pub(crate) fn json(value: Value) -> Self {
        match value {
            Value::Null => Self::Empty,
            Value::Bool(b) => Self::Bool(b),
            Value::Number(n) => {
                n.as_i64().map(Self::Integer).or_else(|| n.as_f64().map(Self::Number)).unwrap_or_default()
            }
            Value::String(text) if text.is_empty() => Self::Empty,
            Value::String(text) => Self::Text(Cow::Owned(text)),
            Value::Array(items) => Self::List(items.into_iter().map(json_text).collect()),
            Value::Object(map) => Self::Object(map),
        }
    }

    /// What it is, for error messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Empty => "nothing".to_owned(),
            Self::Text(text) => {
                let mut shown: String = text.chars().take(40).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                format!("'{shown}'")
            }
            Self::Integer(n) => n.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Bool(b) => b.to_string(),
            Self::Time(t) => t.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

fn json_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// One row. `cells` are in the order of `columns`, of which a JSON file may show more with every row.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// Line in a text file, row in a Parquet file; from 1.
    pub(crate) line: u64,
    /// Its size in the file, as far as that is known.
    pub(crate) bytes: usize,
    pub(crate) columns: &'a [String],
    pub(crate) cells: Vec<Cell<'a>>,
}

/// What a reader found.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Row(Row<'a>),
    /// A row that cannot be read; reading goes on after it.
    Refused(Refusal),
    End,
}

/// A file of rows.
pub(crate) trait Rows {
    /// The next row.
    ///
    /// # Errors
    /// Only when the file cannot be read on.
    fn next(&mut self) -> Result<Step<'_>, ImportError>;

    /// Bytes of the file read so far.
    fn bytes_read(&self) -> u64;
}
