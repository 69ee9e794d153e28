//! Features as they are written: straight from where they are to JSON, column by column. An answer may have two million
//! values, so nothing is copied on the way.

use serde::ser::{Error, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use tastemaker_types::{FeatureValue, Timestamp};

/// One value of one feature.
#[derive(Debug, Clone, Copy)]
pub struct CellRef<'a> {
    /// The value, if there is one.
    pub value: Option<&'a FeatureValue>,
    /// `PRESENT`, or why there is none.
    pub status: &'static str,
    /// The time of what it comes from.
    pub event_time: Option<Timestamp>,
}

/// One feature of all rows; `cells` gives them.
#[derive(Debug, Clone, Copy)]
pub struct ColumnRef<'a, I> {
    /// As it was asked for.
    pub name: &'a str,
    /// The type of its values.
    pub value_type: &'static str,
    /// A cell for each row.
    pub cells: I,
}

/// The answer to an [`OnlineFeaturesRequest`](crate::OnlineFeaturesRequest); its shape is that of
/// [`OnlineFeaturesResponse`](crate::OnlineFeaturesResponse).
#[derive(Debug, Clone, Serialize)]
pub struct OnlineFeatures<C> {
    /// How many cells each column has.
    pub rows: usize,
    /// In the order asked for.
    pub features: Vec<C>,
}

impl<'a, I: Iterator<Item = CellRef<'a>> + Clone> Serialize for ColumnRef<'a, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut column = serializer.serialize_struct("ColumnRef", 5)?;
        column.serialize_field("name", self.name)?;
        column.serialize_field("type", self.value_type)?;
        let cells = || self.cells.clone();
        column.serialize_field("values", &Each(cells().map(|cell| ValueRef(cell.value))))?;
        column.serialize_field("statuses", &Each(cells().map(|cell| cell.status)))?;
        column.serialize_field("event_timestamps", &Each(cells().map(|cell| cell.event_time)))?;
        column.end()
    }
}

/// Writes what an iterator gives as a list.
#[derive(Clone)]
pub(crate) struct Each<I>(pub(crate) I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.0.clone().try_for_each(|value| list.serialize_element(&value))?;
        list.end()
    }
}

/// A value as plain JSON.
#[derive(Debug, Clone, Copy)]
pub struct ValueRef<'a>(pub Option<&'a FeatureValue>);

impl Serialize for ValueRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(FeatureValue::Number(number)) => Number(*number).serialize(serializer),
            Some(FeatureValue::Text(text)) => serializer.serialize_str(text),
            Some(FeatureValue::Bool(bool)) => serializer.serialize_bool(*bool),
            Some(FeatureValue::Time(time)) => time.serialize(serializer),
            Some(FeatureValue::Texts(texts)) => texts.serialize(serializer),
            Some(FeatureValue::Vector(vector)) => vector.serialize(serializer),
            Some(FeatureValue::Map(map)) => serializer.collect_map(map.iter().map(|(name, n)| (name, Number(*n)))),
        }
    }
}

/// Whole numbers are written without a fraction, so that a count reads as a count in languages that tell the two apart.
struct Number(f64);

/// Below it every whole number is a 64-bit float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(number) = *self;
        let negative_zero = number == 0.0 && number.is_sign_negative();
        if number.trunc() == number && number.abs() < EXACT && !negative_zero {
            serializer.serialize_i64(number as i64)
        } else if number.is_finite() {
            serializer.serialize_f64(number)
        } else {
            Err(S::Error::custom("a feature's value is not finite"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnlineFeaturesResponse;

    #[test]
    fn what_is_written_is_what_is_documented() {
        let time = Timestamp::from_micros(1_767_323_045_000_000);
        let values = [
            (FeatureValue::Number(3.0), "3"),
            (FeatureValue::Number(-0.0), "-0.0"),
            (FeatureValue::Number(0.1), "0.1"),
            (FeatureValue::Number(1e300), "1e+300"),
            (FeatureValue::Text("a\"b".to_owned()), r#""a\"b""#),
            (FeatureValue::Bool(true), "true"),
            (FeatureValue::Time(time), r#""2026-01-02T03:04:05Z""#),
            (FeatureValue::Texts(vec!["x".to_owned()]), r#"["x"]"#),
            (FeatureValue::Vector(vec![0.1, 2.0]), "[0.1,2.0]"),
            (FeatureValue::Map(vec![("b".to_owned(), 2.0), ("a".to_owned(), 0.5)]), r#"{"b":2,"a":0.5}"#),
        ];
        for (value, expected) in &values {
            assert_eq!(serde_json::to_string(&ValueRef(Some(value))).unwrap(), *expected);
        }
        let present =
            values.iter().map(|(value, _)| CellRef { value: Some(value), status: "PRESENT", event_time: Some(time) });
        let cells = present.chain([CellRef { value: None, status: "NOT_FOUND", event_time: None }]);
        let column = ColumnRef { name: "x", value_type: "number", cells };
        let text = serde_json::to_string(&OnlineFeatures { rows: 11, features: vec![column] }).unwrap();
        let read: OnlineFeaturesResponse = serde_json::from_str(&text).unwrap();
        assert_eq!((read.rows, read.features[0].values.len()), (11, 11));
        assert_eq!(read.features[0].statuses[10], "NOT_FOUND");
        assert_eq!(read.features[0].event_timestamps[9..], [Some(time.to_string()), None]);
    }

    #[test]
    fn a_number_that_json_lacks_is_an_error_and_no_null() {
        assert!(serde_json::to_string(&ValueRef(Some(&FeatureValue::Number(f64::NAN)))).is_err());
    }
}
