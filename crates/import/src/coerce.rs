//! Cells to typed values. An error is the kind of mistake (the same words for all such cells) and a sentence about this
//! one.

use tastemaker_config::TimestampUnit;
use tastemaker_types::{AttributeSchema, AttributeType, Timestamp, Value};

use crate::row::Cell;

/// Why a cell cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

impl Mistake {
    pub(crate) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// What GroupLens' files write for a film without genres.
const NO_GENRES: &str = "(no genres listed)";

/// An id or a type: numbers are written as text.
pub(crate) fn text(cell: Cell<'_>) -> Result<Option<String>, Mistake> {
    match cell {
        Cell::Empty => Ok(None),
        Cell::Text(text) => Ok(Some(text.into_owned())),
        Cell::Integer(n) => Ok(Some(n.to_string())),
        Cell::Number(n) if n.fract() == 0.0 && n.abs() < 9.0e15 => Ok(Some((n as i64).to_string())),
        Cell::Number(n) => Ok(Some(n.to_string())),
        Cell::Bool(b) => Ok(Some(b.to_string())),
        Cell::Time(t) => Ok(Some(t.to_string())),
        other => Err(Mistake::new("not a text", format!("{} is not a text", other.describe()))),
    }
}

/// A finite number.
pub(crate) fn number(cell: Cell<'_>) -> Result<Option<f64>, Mistake> {
    let number = match &cell {
        Cell::Empty => return Ok(None),
        Cell::Integer(n) => Some(*n as f64),
        Cell::Number(n) => Some(*n),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.filter(|n| n.is_finite()) {
        Some(number) => Ok(Some(number)),
        None => Err(Mistake::new("not a number", format!("{} is not a finite number", cell.describe()))),
    }
}

/// An instant. A number is in `unit`, or its size tells the unit.
pub(crate) fn time(cell: Cell<'_>, unit: Option<TimestampUnit>) -> Result<Option<Timestamp>, Mistake> {
    let refused = |error: &dyn std::fmt::Display| Mistake::new("not a time", error.to_string());
    let number = match &cell {
        Cell::Empty => return Ok(None),
        Cell::Time(time) => return in_range(time.as_micros() as f64, &cell),
        Cell::Integer(n) => *n as f64,
        Cell::Number(n) => *n,
        Cell::Text(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') => match text.parse() {
            Ok(number) => number,
            Err(_) => return text.parse().map(Some).map_err(|e| refused(&e)),
        },
        Cell::Text(text) => return text.parse().map(Some).map_err(|e| refused(&e)),
        other => return Err(Mistake::new("not a time", format!("{} is not a time", other.describe()))),
    };
    let per_micro = match unit {
        None => return Timestamp::from_number(number).map(Some).map_err(|e| refused(&e)),
        Some(TimestampUnit::Seconds) => 1e6,
        Some(TimestampUnit::Milliseconds) => 1e3,
        Some(TimestampUnit::Microseconds) => 1.0,
        Some(TimestampUnit::Nanoseconds) => 1e-3,
    };
    let micros = (number * per_micro).round();
    in_range(micros, &cell)
}

fn in_range(micros: f64, cell: &Cell<'_>) -> Result<Option<Timestamp>, Mistake> {
    // From 10¹⁴ on a number is microseconds, and its range is checked; below it is near 1970.
    if micros.abs() < 1e14 || Timestamp::from_number(micros).is_ok() {
        return Ok(Some(Timestamp::from_micros(micros as i64)));
    }
    Err(Mistake::new("not a time", format!("{} is outside of the years 1 to 9999", cell.describe())))
}

fn truth(cell: &Cell<'_>) -> Option<bool> {
    match cell {
        Cell::Bool(b) => Some(*b),
        Cell::Integer(0) => Some(false),
        Cell::Integer(1) => Some(true),
        Cell::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The value of a declared attribute; `None` where the cell is empty.
pub(crate) fn attribute(
    schema: &AttributeSchema,
    name: &str,
    cell: Cell<'_>,
    unit: Option<TimestampUnit>,
) -> Result<Option<Value>, Mistake> {
    let value = match (schema.get(name), cell) {
        (_, Cell::Empty) => None,
        (Some(AttributeType::Number), cell) => number(cell)?.map(Value::Number),
        (Some(AttributeType::Time), cell) => time(cell, unit)?.map(Value::Time),
        (Some(AttributeType::Bool), cell) => match truth(&cell) {
            Some(truth) => Some(Value::Bool(truth)),
            None => {
                let reason = format!("{} is neither true, false, yes, no, 1 nor 0", cell.describe());
                return Err(Mistake::new("not a bool", reason));
            }
        },
        (Some(AttributeType::Tags), Cell::List(tags)) => Some(Value::Tags(tags)),
        (Some(AttributeType::Tags), Cell::Text(text)) if text == NO_GENRES => Some(Value::Tags(Vec::new())),
        (_, cell) => text(cell)?.map(Value::Text),
    };
    let Some(value) = value else { return Ok(None) };
    schema.coerce(name, value).map(Some).map_err(|error| Mistake::new("not of its type", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> AttributeSchema {
        use AttributeType::{Bool, Number, Tag, Tags, Text, Time};
        let fields =
            [("category", Tag), ("genres", Tags), ("title", Text), ("price", Number), ("new", Bool), ("at", Time)];
        AttributeSchema::new(fields.map(|(name, kind)| (name.to_owned(), kind)))
    }

    fn read(name: &str, text: &'static str) -> Result<Option<Value>, String> {
        attribute(&schema(), name, Cell::text(text), None).map_err(|mistake| mistake.reason)
    }

    #[test]
    fn text_becomes_the_declared_type() {
        assert_eq!(read("price", " 9.50"), Ok(Some(Value::Number(9.5))));
        assert_eq!(read("new", "TRUE"), Ok(Some(Value::Bool(true))));
        assert_eq!(read("new", "0"), Ok(Some(Value::Bool(false))));
        assert_eq!(read("genres", "Drama|Comedy"), Ok(Some(Value::Tags(vec!["Comedy".into(), "Drama".into()]))));
        assert_eq!(read("genres", NO_GENRES), Ok(Some(Value::Tags(Vec::new()))));
        assert_eq!(read("category", "7"), Ok(Some(Value::Text("7".into()))));
        assert_eq!(read("at", "1970-01-02"), Ok(Some(Value::Time(Timestamp::from_micros(86_400_000_000)))));
        assert_eq!(read("title", ""), Ok(None));
    }

    #[test]
    fn text_of_another_type_says_what_it_takes() {
        assert_eq!(read("price", "cheap"), Err("'cheap' is not a finite number".into()));
        assert_eq!(read("price", "inf"), Err("'inf' is not a finite number".into()));
        assert_eq!(read("new", "maybe"), Err("'maybe' is neither true, false, yes, no, 1 nor 0".into()));
        assert!(read("at", "yesterday").unwrap_err().starts_with("'yesterday' is not a time"));
    }

    #[test]
    fn a_number_is_a_time_in_the_unit_that_is_said_or_that_its_size_tells() {
        let micros = |cell, unit| time(cell, unit).unwrap().unwrap().as_micros();
        assert_eq!(micros(Cell::text("964982703"), None), 964_982_703_000_000);
        assert_eq!(micros(Cell::Integer(964_982_703_000), None), 964_982_703_000_000);
        assert_eq!(micros(Cell::Integer(86_400), Some(TimestampUnit::Milliseconds)), 86_400_000);
        assert_eq!(
            micros(Cell::Integer(1_000_000_000_000_000_000), Some(TimestampUnit::Nanoseconds)),
            1_000_000_000_000_000
        );
        assert!(time(Cell::Number(f64::INFINITY), Some(TimestampUnit::Seconds)).is_err());
        assert!(time(Cell::Integer(i64::MAX), Some(TimestampUnit::Seconds)).is_err());
    }

    #[test]
    fn whole_numbers_are_ids_without_a_decimal_point() {
        assert_eq!(text(Cell::Number(17.0)), Ok(Some("17".into())));
        assert_eq!(text(Cell::Integer(-3)), Ok(Some("-3".into())));
        assert!(text(Cell::List(vec![])).is_err());
    }
}
