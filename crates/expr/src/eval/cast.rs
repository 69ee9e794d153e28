//! Casts between numbers, texts, bools and times. What cannot be read gives NULL.

use arrow_array::{Array, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow_buffer::BooleanBuffer;
use tastemaker_types::Timestamp;

use super::lanes::bits;
use super::text::{self, Texts};
use super::{Vector, union};
use crate::{Kind, Literal};

pub(super) fn cast(operand: Vector, to: Kind, rows: usize) -> Vector {
    match (operand, to) {
        (Vector::Constant(literal), _) => constant(&literal, to),
        (Vector::Bool(array), Kind::Number) => {
            let values: Vec<f64> = array.values().iter().map(f64::from).collect();
            Vector::Number(Float64Array::new(values.into(), array.nulls().cloned()))
        }
        (Vector::Bool(array), _) => to_texts(&array, rows, |row| array.value(row).to_string()),
        (Vector::Number(array), Kind::Bool) => {
            Vector::Bool(BooleanArray::new(bits(array.values(), |n| n != 0.0), array.nulls().cloned()))
        }
        (Vector::Number(array), _) => to_texts(&array, rows, |row| array.value(row).to_string()),
        (Vector::Time(array), _) => to_texts(&array, rows, |row| Timestamp::from_micros(array.value(row)).to_string()),
        (texts @ (Vector::Text(_) | Vector::Tag(_)), Kind::Number) => text::to_numbers(&texts, rows, number),
        (texts @ (Vector::Text(_) | Vector::Tag(_)), Kind::Bool) => {
            let is_true = text::predicate(&texts, rows, |text| bool(text) == Some(true));
            let known = text::predicate(&texts, rows, |text| bool(text).is_some());
            let nulls = union(texts.nulls(), Some(&known.values().clone().into()));
            Vector::Bool(BooleanArray::new(is_true.values().clone(), nulls))
        }
        (texts @ (Vector::Text(_) | Vector::Tag(_)), Kind::Time) => {
            let by_row = Texts::new(&texts);
            let times: Vec<Option<i64>> = (0..rows).map(|row| time(by_row.get(row))).collect();
            let known = BooleanBuffer::collect_bool(rows, |row| times.get(row).is_some_and(Option::is_some));
            let nulls = union(texts.nulls(), Some(&known.into()));
            let micros: Vec<i64> = times.into_iter().map(Option::unwrap_or_default).collect();
            Vector::Time(TimestampMicrosecondArray::new(micros.into(), nulls))
        }
        (other, _) => other,
    }
}

fn constant(literal: &Literal, to: Kind) -> Vector {
    let text = |text: String| Some(Literal::Text(text.into()));
    Vector::Constant(
        match (literal, to) {
            (Literal::Bool(value), Kind::Number) => Some(Literal::Number(f64::from(*value))),
            (Literal::Bool(value), Kind::Text) => text(value.to_string()),
            (Literal::Number(value), Kind::Bool) => Some(Literal::Bool(*value != 0.0)),
            (Literal::Number(value), Kind::Text) => text(value.to_string()),
            (Literal::Time(value), Kind::Text) => text(value.to_string()),
            (Literal::Text(value), Kind::Number) => {
                number(value).filter(|number| number.is_finite()).map(Literal::Number)
            }
            (Literal::Text(value), Kind::Bool) => bool(value).map(Literal::Bool),
            (Literal::Text(value), Kind::Time) => time(value).map(Timestamp::from_micros).map(Literal::Time),
            _ => None,
        }
        .unwrap_or(Literal::NULL),
    )
}

fn to_texts(array: &dyn Array, rows: usize, text: impl Fn(usize) -> String) -> Vector {
    Vector::Text((0..rows).map(|row| array.is_valid(row).then(|| text(row))).collect::<StringArray>())
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

fn bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "1" => Some(true),
        "false" | "f" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_micros)
}
