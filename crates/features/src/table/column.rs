//! What a column may hold, and the one Arrow type that it is read as.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, ListArray, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};
use tastemaker_types::Timestamp;

/// The declared type of a feature column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureType {
    /// Any number, read as a 64-bit float; what is not finite counts as null.
    Number,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// An instant in microseconds, UTC; a time without a zone is UTC, a date its midnight.
    Time,
    /// A list of texts.
    Texts,
    /// A list of floats, read as 32-bit floats; one with a null or an element that is not finite counts as null.
    Vector,
}

impl fmt::Display for FeatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "texts",
            Self::Vector => "vector",
        })
    }
}

impl FeatureType {
    const ALL: [Self; 6] = [Self::Number, Self::Bool, Self::Text, Self::Time, Self::Texts, Self::Vector];

    /// The Arrow type of its values.
    pub fn arrow_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self {
            Self::Number => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Time => utc(),
            Self::Texts => list(DataType::Utf8),
            Self::Vector => list(DataType::Float32),
        }
    }

    fn accepts(self, found: &DataType) -> bool {
        let item = item(found).map(plain);
        match (self, plain(found)) {
            (Self::Number, kind) => kind.is_numeric(),
            (Self::Bool, kind) => *kind == DataType::Boolean,
            (Self::Text, kind) => is_text(kind),
            (Self::Time, kind) => is_time(kind),
            (Self::Texts, _) => item.is_some_and(is_text),
            (Self::Vector, _) => item.is_some_and(DataType::is_floating),
        }
    }
}

/// What a column is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A key: text, or an integer as its decimal text.
    Key,
    /// When a row was true, or known.
    Time,
    /// A feature.
    Feature(FeatureType),
}

impl Role {
    pub(super) fn arrow_type(self) -> DataType {
        match self {
            Self::Key => DataType::Utf8,
            Self::Time => utc(),
            Self::Feature(declared) => declared.arrow_type(),
        }
    }

    /// What to do about a column of type `found`, if it cannot be used as this.
    pub(super) fn remedy(self, found: &DataType) -> Option<String> {
        let kind = plain(found);
        match self {
            Self::Key if is_text(kind) || kind.is_integer() => None,
            Self::Key => Some("write keys as text or integers".to_owned()),
            Self::Time if is_time(kind) => None,
            Self::Time if kind.is_numeric() => Some(
                "a number does not say its unit, so write it as a timestamp, such as with pandas.to_datetime(column, unit='s')"
                    .to_owned(),
            ),
            Self::Time => Some("write it as a timestamp or a date".to_owned()),
            Self::Feature(declared) if declared.accepts(found) => None,
            Self::Feature(declared) => Some(match FeatureType::ALL.into_iter().find(|other| other.accepts(found)) {
                Some(other) => format!("declare it as {other}, or write the column as {declared}"),
                None => format!("write the column as {declared}"),
            }),
        }
    }

    /// `array`, of a type that has no [`Role::remedy`], in the type that this is read as. What does not fit becomes null.
    pub(super) fn normalise(self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Time | Self::Feature(FeatureType::Time) => {
                let zone = match plain(array.data_type()) {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                // The instant of a zoned timestamp is already counted in UTC; only the label changes.
                let micros = arrow_cast::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
                Ok(Arc::new(micros.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC")))
            }
            Self::Feature(FeatureType::Number) => {
                let numbers = arrow_cast::cast(array, &DataType::Float64)?;
                Ok(finite_numbers(numbers))
            }
            Self::Feature(FeatureType::Vector) => {
                let vectors = arrow_cast::cast(array, &self.arrow_type())?;
                finite_vectors(vectors)
            }
            Self::Key | Self::Feature(_) => arrow_cast::cast(array, &self.arrow_type()),
        }
    }

    /// The value of a folder name (`date=2026-01-02`) as an array of one row.
    pub(super) fn of_text(self, text: Option<&str>) -> Result<ArrayRef, String> {
        let Some(text) = text else { return Ok(new_null_array(&self.arrow_type(), 1)) };
        let number = || f64::from_str(text).ok().filter(|n| n.is_finite());
        match self {
            Self::Key | Self::Feature(FeatureType::Text) => Ok(Arc::new(StringArray::from(vec![text]))),
            // A bare number might be a date without dashes, so its size cannot tell its unit.
            Self::Time | Self::Feature(FeatureType::Time) if text.parse::<f64>().is_ok() => {
                Err("it is no time; write it as 2026-01-02".to_owned())
            }
            Self::Time | Self::Feature(FeatureType::Time) => {
                let time: Timestamp = text.parse().map_err(|e: tastemaker_types::TimeError| e.to_string())?;
                Ok(Arc::new(TimestampMicrosecondArray::from(vec![time.as_micros()]).with_timezone("UTC")))
            }
            Self::Feature(FeatureType::Number) => {
                let number = number().ok_or("it is no number; declare the feature as text")?;
                Ok(Arc::new(Float64Array::from(vec![number])))
            }
            Self::Feature(FeatureType::Bool) => match text {
                "true" => Ok(Arc::new(BooleanArray::from(vec![true]))),
                "false" => Ok(Arc::new(BooleanArray::from(vec![false]))),
                _ => Err("it is neither true nor false; declare the feature as text".to_owned()),
            },
            Self::Feature(FeatureType::Texts | FeatureType::Vector) => {
                Err("a folder name holds no list; declare the feature as text".to_owned())
            }
        }
    }
}

/// Timestamps as this module gives them.
pub(super) fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn plain(found: &DataType) -> &DataType {
    match found {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

fn item(found: &DataType) -> Option<&DataType> {
    match found {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_time(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

fn finite_numbers(numbers: ArrayRef) -> ArrayRef {
    let numbers = numbers.as_primitive::<Float64Type>();
    if numbers.values().iter().all(|n| n.is_finite()) {
        return Arc::new(numbers.clone());
    }
    Arc::new(numbers.iter().map(|n| n.filter(|n| n.is_finite())).collect::<Float64Array>())
}

fn finite_vectors(vectors: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let vectors = vectors.as_list::<i32>();
    let elements = vectors.values().as_primitive::<Float32Type>();
    if elements.null_count() == 0 && elements.values().iter().all(|x| x.is_finite()) {
        return Ok(Arc::new(vectors.clone()));
    }
    let sound = vectors.iter().map(|vector| {
        vector.is_some_and(|v| v.as_primitive::<Float32Type>().iter().all(|x| x.is_some_and(f32::is_finite)))
    });
    let nulls = NullBuffer::new(BooleanBuffer::from_iter(sound));
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    Ok(Arc::new(ListArray::try_new(item, vectors.offsets().clone(), Arc::new(elements.clone()), Some(nulls))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, Int64Array, TimestampMillisecondArray};

    #[test]
    fn a_zoned_time_is_its_utc_instant() {
        let zoned: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_500]).with_timezone("+02:00"));
        let naive: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_500]));
        let time = Role::Time.normalise(&zoned).unwrap();
        assert_eq!(time.data_type(), &utc());
        assert_eq!(time.as_primitive::<TimestampMicrosecondType>().value(0), 1_500_000);
        assert_eq!(&time, &Role::Time.normalise(&naive).unwrap());
    }

    #[test]
    fn integers_are_keys_as_their_decimal_text_and_categories_are_texts() {
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None]));
        let keys = Role::Key.normalise(&integers).unwrap();
        assert_eq!(keys.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("-7"), None]);
        let category: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(["ü", "b", "ü"]));
        let role = Role::Feature(FeatureType::Text);
        assert_eq!(role.remedy(category.data_type()), None);
        assert_eq!(role.normalise(&category).unwrap().as_string::<i32>().value(2), "ü");
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let numbers: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None, Some(f64::INFINITY)]));
        let numbers = Role::Feature(FeatureType::Number).normalise(&numbers).unwrap();
        assert_eq!(numbers.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.5), None, None, None]);
        let rows = vec![
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![Some(f64::NAN)]),
            Some(vec![Some(1e300)]),
            Some(vec![None]),
            None,
            Some(vec![]),
        ];
        let vectors: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows));
        let vectors = Role::Feature(FeatureType::Vector).normalise(&vectors).unwrap();
        let valid: Vec<bool> = (0..6).map(|row| vectors.is_valid(row)).collect();
        assert_eq!(valid, [true, false, false, false, false, true]);
        assert_eq!(vectors.as_list::<i32>().value(0).as_primitive::<Float32Type>().values(), &[1.0, 2.0]);
    }

    #[test]
    fn folder_names_are_read_by_type_and_a_date_without_dashes_is_no_time() {
        let day = Role::Time.of_text(Some("2026-01-02")).unwrap();
        assert_eq!(day.as_primitive::<TimestampMicrosecondType>().value(0), 1_767_312_000_000_000);
        assert!(Role::Time.of_text(Some("20260102")).unwrap_err().contains("write it as 2026-01-02"));
        assert!(Role::Feature(FeatureType::Number).of_text(Some("nan")).is_err());
        assert_eq!(Role::Feature(FeatureType::Bool).of_text(None).unwrap().null_count(), 1);
    }
}
