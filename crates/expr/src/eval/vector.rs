//! The value of a node for every row: one constant, or one canonical Arrow array.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{DurationMicrosecondType, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, DurationMicrosecondArray, Float64Array, ListArray, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use tastemaker_types::{AttributeType, Timestamp};

use super::Evaluated;
use super::lanes::finite;
use crate::{Column, Columns, EvalError, Kind, Literal, arrow_type};

#[derive(Debug, Clone)]
pub(crate) enum Vector {
    Constant(Literal),
    Bool(BooleanArray),
    /// Finite where valid.
    Number(Float64Array),
    Text(StringArray),
    /// Without null dictionary values.
    Tag(DictionaryArray<Int32Type>),
    Time(TimestampMicrosecondArray),
    Interval(DurationMicrosecondArray),
    Tags(ListArray),
}

impl Vector {
    /// The rows of a column, in canonical form.
    pub(super) fn read(column: &Column, columns: &dyn Columns) -> Evaluated {
        let array = columns.column(column).ok_or_else(|| EvalError::MissingColumn { name: column.name.to_string() })?;
        if array.len() != columns.rows() {
            return Err(EvalError::ColumnLength {
                name: column.name.to_string(),
                found: array.len(),
                expected: columns.rows(),
            });
        }
        if Kind::of(array.data_type()) != Some(column.kind) {
            return Err(EvalError::ColumnType {
                name: column.name.to_string(),
                found: array.data_type().clone(),
                expected: column.kind,
            });
        }
        Self::from_array(array, column.kind)
    }

    /// From an array whose type is of `kind`.
    pub(super) fn from_array(array: &ArrayRef, kind: Kind) -> Evaluated {
        let canonical = |data_type: &DataType| -> Result<ArrayRef, EvalError> {
            if array.data_type() == data_type { Ok(Arc::clone(array)) } else { Ok(cast(array, data_type)?) }
        };
        Ok(match kind {
            Kind::Bool => Self::Bool(array.as_boolean().clone()),
            Kind::Number => match array.as_primitive_opt::<Float64Type>() {
                Some(numbers) => Self::Number(finite(numbers.clone())),
                None => Self::Number(finite(canonical(&DataType::Float64)?.as_primitive::<Float64Type>().clone())),
            },
            Kind::Text => match array.as_dictionary_opt::<Int32Type>() {
                Some(tags) if tags.values().data_type() == &DataType::Utf8 && tags.values().null_count() == 0 => {
                    Self::Tag(tags.clone())
                }
                _ => Self::Text(canonical(&DataType::Utf8)?.as_string::<i32>().clone()),
            },
            Kind::Time => match array.as_primitive_opt::<TimestampMicrosecondType>() {
                Some(times) => Self::Time(times.clone()),
                None => {
                    let times = canonical(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
                    Self::Time(times.as_primitive::<TimestampMicrosecondType>().clone())
                }
            },
            Kind::Interval => {
                let intervals = canonical(&DataType::Duration(TimeUnit::Microsecond))?;
                Self::Interval(intervals.as_primitive::<DurationMicrosecondType>().clone())
            }
            Kind::Tags => match array.as_list_opt::<i32>() {
                Some(lists) if lists.values().data_type() == &DataType::Utf8 => Self::Tags(lists.clone()),
                _ => Self::Tags(canonical(&arrow_type(AttributeType::Tags))?.as_list::<i32>().clone()),
            },
        })
    }

    /// Which rows are not NULL; none if all are, or for a constant.
    pub(super) fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Self::Constant(_) => None,
            Self::Bool(array) => array.nulls(),
            Self::Number(array) => array.nulls(),
            Self::Text(array) => array.nulls(),
            Self::Tag(array) => array.nulls(),
            Self::Time(array) => array.nulls(),
            Self::Interval(array) => array.nulls(),
            Self::Tags(array) => array.nulls(),
        }
    }

    /// As bools; anything that is not is NULL, which the typing rules leave to the constant NULL alone.
    pub(super) fn into_bools(self, rows: usize) -> BooleanArray {
        match self {
            Self::Bool(array) => array,
            Self::Constant(Literal::Bool(value)) => {
                let bits = if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
                BooleanArray::new(bits, None)
            }
            _ => BooleanArray::new_null(rows),
        }
    }

    /// As an array of the type of `kind`.
    pub(crate) fn into_array(self, kind: Kind, rows: usize) -> Result<ArrayRef, EvalError> {
        Ok(match self {
            Self::Constant(literal) => match literal {
                Literal::Null(_) => new_null_array(&kind.data_type(), rows),
                Literal::Bool(_) => Arc::new(Self::Constant(literal).into_bools(rows)),
                Literal::Number(number) => Arc::new(Float64Array::from_value(number, rows)),
                Literal::Text(text) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&*text, rows))),
                Literal::Time(time) => {
                    Arc::new(TimestampMicrosecondArray::from_value(time.as_micros(), rows).with_timezone("UTC"))
                }
                Literal::Interval(micros) => Arc::new(DurationMicrosecondArray::from_value(micros, rows)),
            },
            Self::Bool(array) => Arc::new(array),
            Self::Number(array) => Arc::new(array),
            Self::Text(array) => Arc::new(array),
            Self::Tag(array) => cast(&array, &DataType::Utf8)?,
            Self::Time(array) => Arc::new(array.with_timezone("UTC")),
            Self::Interval(array) => Arc::new(array),
            Self::Tags(array) => {
                let array: ArrayRef = Arc::new(array);
                if array.data_type() == &kind.data_type() { array } else { cast(&array, &kind.data_type())? }
            }
        })
    }

    /// The first row as a constant; none for a list, which no constant can be, and for no rows.
    pub(crate) fn first(self) -> Option<Literal> {
        fn at<A: Array, T>(array: &A, value: impl Fn(&A) -> T, literal: impl Fn(T) -> Literal) -> Option<Literal> {
            match array.is_empty() {
                true => None,
                false if array.is_null(0) => Some(Literal::NULL),
                false => Some(literal(value(array))),
            }
        }
        match self {
            Self::Constant(literal) => Some(literal),
            Self::Bool(array) => at(&array, |a| a.value(0), Literal::Bool),
            Self::Number(array) => at(&array, |a| a.value(0), Literal::Number),
            Self::Text(array) => at(&array, |a| a.value(0).into(), Literal::Text),
            Self::Time(array) => at(&array, |a| Timestamp::from_micros(a.value(0)), Literal::Time),
            Self::Interval(array) => at(&array, |a| a.value(0), Literal::Interval),
            Self::Tag(_) | Self::Tags(_) => None,
        }
    }
}
