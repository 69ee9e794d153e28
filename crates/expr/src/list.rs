//! The constants of an `IN` list, arranged for looking one up.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tastemaker_types::Timestamp;

use crate::{Kind, Literal};

/// Distinct constants of one kind, and whether NULL is among them.
#[derive(Debug, Clone, PartialEq)]
pub struct InList {
    values: Vec<Literal>,
    has_null: bool,
    lookup: Lookup,
}

/// Up to this many constants, comparing with each is faster than hashing or bisecting.
const SMALL: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup {
    /// Sorted.
    Numbers(Vec<f64>),
    /// In microseconds; sorted.
    Instants(Vec<i64>),
    /// Few.
    Texts(Vec<Arc<str>>),
    /// Many.
    TextSet(HashSet<Arc<str>>),
    /// Whether false and true are members.
    Bools([bool; 2]),
    /// No constant, or only NULL.
    Nothing,
}

impl InList {
    /// From constants that are all of `kind` or NULL.
    pub(crate) fn new(kind: Option<Kind>, constants: impl IntoIterator<Item = Literal>) -> Self {
        let (nulls, mut values): (Vec<_>, Vec<_>) =
            constants.into_iter().partition(|literal| matches!(literal, Literal::Null(_)));
        values.sort_by(order);
        values.dedup();
        let lookup = if values.is_empty() {
            Lookup::Nothing
        } else {
            match kind {
                Some(Kind::Number) => Lookup::Numbers(values.iter().filter_map(number).collect()),
                Some(Kind::Time | Kind::Interval) => Lookup::Instants(values.iter().filter_map(instant).collect()),
                Some(Kind::Bool) => Lookup::Bools([false, true].map(|member| values.contains(&Literal::Bool(member)))),
                _ if values.len() <= SMALL => Lookup::Texts(values.iter().filter_map(text).collect()),
                _ => Lookup::TextSet(values.iter().filter_map(text).collect()),
            }
        };
        Self { values, has_null: !nulls.is_empty(), lookup }
    }

    /// The constants, sorted, without NULL.
    pub fn values(&self) -> &[Literal] {
        &self.values
    }

    /// Whether NULL was among them: then a value that is not found gives NULL, not false.
    pub fn has_null(&self) -> bool {
        self.has_null
    }

    pub(crate) fn lookup(&self) -> &Lookup {
        &self.lookup
    }
}

impl Lookup {
    pub(crate) fn has_text(&self, text: &str) -> bool {
        match self {
            Self::Texts(texts) => texts.iter().any(|known| **known == *text),
            Self::TextSet(texts) => texts.contains(text),
            _ => false,
        }
    }

    pub(crate) fn has_number(numbers: &[f64], number: f64) -> bool {
        if numbers.len() <= SMALL {
            return numbers.iter().fold(false, |found, known| found | (*known == number));
        }
        numbers.binary_search_by(|known| known.total_cmp(&(number + 0.0))).is_ok()
    }

    pub(crate) fn has_instant(instants: &[i64], instant: i64) -> bool {
        instants.binary_search(&instant).is_ok()
    }
}

fn order(a: &Literal, b: &Literal) -> std::cmp::Ordering {
    match (a, b) {
        (Literal::Number(a), Literal::Number(b)) => a.total_cmp(b),
        (Literal::Text(a), Literal::Text(b)) => a.cmp(b),
        (Literal::Time(a), Literal::Time(b)) => a.cmp(b),
        (Literal::Interval(a), Literal::Interval(b)) => a.cmp(b),
        (Literal::Bool(a), Literal::Bool(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    }
}

/// Minus zero is zero: the bisection compares by total order, which tells them apart.
fn number(literal: &Literal) -> Option<f64> {
    if let Literal::Number(number) = literal { Some(number + 0.0) } else { None }
}

fn instant(literal: &Literal) -> Option<i64> {
    match literal {
        Literal::Time(time) => Some(Timestamp::as_micros(*time)),
        Literal::Interval(micros) => Some(*micros),
        _ => None,
    }
}

fn text(literal: &Literal) -> Option<Arc<str>> {
    if let Literal::Text(text) = literal { Some(Arc::clone(text)) } else { None }
}

impl fmt::Display for InList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{value}")?;
        }
        match (self.has_null, self.values.is_empty()) {
            (true, true) => f.write_str("NULL)"),
            (true, false) => f.write_str(", NULL)"),
            (false, _) => f.write_str(")"),
        }
    }
}
