//! Values that are given beside an expression: its `:name` parameters, and the time that `now()` stands for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tastemaker_types::{Timestamp, Value};

/// The value of a `:name` parameter. As JSON it is the plain value; a time is given as text and becomes one where it meets
/// a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bind {
    /// NULL.
    Null(()),
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Values for `IN (:name)` and `= ANY(:name)`.
    List(Vec<Bind>),
    /// An instant; never made from JSON.
    #[serde(skip_deserializing)]
    Time(Timestamp),
}

impl From<Value> for Bind {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::Text(value) => Self::Text(value),
            Value::Tags(values) => Self::List(values.into_iter().map(Self::Text).collect()),
            Value::Time(value) => Self::Time(value),
        }
    }
}

impl From<bool> for Bind {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Bind {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Bind {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Timestamp> for Bind {
    fn from(value: Timestamp) -> Self {
        Self::Time(value)
    }
}

impl<T: Into<Bind>> From<Vec<T>> for Bind {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// What one compilation binds.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// What `now()` stands for. Compile an expression that names it again when time has moved on; a caller that caches
    /// results by [`Expr::cache_key`](crate::Expr::cache_key) rounds it, say to a minute, so that keys repeat.
    pub now: Timestamp,
    /// Values by parameter name, without the colon. Ones that the expression does not use are ignored.
    pub binds: BTreeMap<String, Bind>,
}

impl Params {
    /// No parameters, and `now()` as given.
    pub fn at(now: Timestamp) -> Self {
        Self { now, binds: BTreeMap::new() }
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Bind>) -> Self {
        self.binds.insert(name.to_owned(), value.into());
        self
    }
}
