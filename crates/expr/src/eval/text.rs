//! Kernels over texts, tags and lists of texts. A tag column is computed on its dictionary, each distinct value once,
//! and the rows take their value's result.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, BooleanArray, DictionaryArray, Float64Array, ListArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::Vector;
use super::lanes::{bits, finite_numbers};
use crate::Literal;

/// Texts by row; what stands at a NULL is unspecified.
pub(super) enum Texts<'a> {
    One(&'a str),
    Plain(&'a StringArray),
    Tag(&'a [i32], &'a StringArray),
}

impl<'a> Texts<'a> {
    pub(super) fn new(vector: &'a Vector) -> Self {
        match vector {
            Vector::Text(array) => Self::Plain(array),
            Vector::Tag(array) => match array.values().as_string_opt::<i32>() {
                Some(values) => Self::Tag(array.keys().values(), values),
                None => Self::One(""),
            },
            Vector::Constant(Literal::Text(text)) => Self::One(text),
            _ => Self::One(""),
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> &'a str {
        match self {
            Self::One(text) => text,
            Self::Plain(array) => array.value(row),
            Self::Tag(keys, values) => match keys.get(row).and_then(|key| usize::try_from(*key).ok()) {
                Some(key) if key < values.len() => values.value(key),
                _ => "",
            },
        }
    }
}

/// Of a tag: the results of its distinct values, spread over the rows.
fn spread(tags: &DictionaryArray<Int32Type>, of_value: impl Fn(&str) -> bool) -> BooleanBuffer {
    let keys = tags.keys().values();
    let values = Texts::values(tags);
    let hits: Vec<bool> = (0..values.map_or(0, StringArray::len))
        .map(|index| values.is_some_and(|values| of_value(values.value(index))))
        .collect();
    let mut true_keys = hits.iter().enumerate().filter(|(_, hit)| **hit).map(|(key, _)| key as i32);
    match (true_keys.next(), true_keys.next()) {
        (None, _) => BooleanBuffer::new_unset(keys.len()),
        (Some(only), None) => bits(keys, |key| key == only),
        _ => bits(keys, |key| hits.get(key as usize).copied().unwrap_or(false)),
    }
}

impl Texts<'_> {
    fn values(tags: &DictionaryArray<Int32Type>) -> Option<&StringArray> {
        tags.values().as_string_opt::<i32>()
    }
}

/// A bool for each text; NULL stays NULL.
pub(super) fn predicate(vector: &Vector, rows: usize, f: impl Fn(&str) -> bool) -> BooleanArray {
    match vector {
        Vector::Tag(tags) => BooleanArray::new(spread(tags, f), tags.nulls().cloned()),
        Vector::Text(array) => {
            BooleanArray::new(BooleanBuffer::collect_bool(rows, |row| f(array.value(row))), array.nulls().cloned())
        }
        Vector::Constant(Literal::Text(text)) => {
            BooleanArray::new(if f(text) { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }, None)
        }
        _ => BooleanArray::new_null(rows),
    }
}

/// A text for each text.
pub(super) fn map(vector: Vector, f: impl Fn(&str) -> String) -> Vector {
    let mapped = |array: &StringArray| array.iter().map(|text| text.map(&f)).collect::<StringArray>();
    match vector {
        Vector::Tag(tags) => match Texts::values(&tags) {
            Some(values) => Vector::Tag(tags.with_values(Arc::new(mapped(values)))),
            None => Vector::Constant(Literal::NULL),
        },
        Vector::Text(array) => Vector::Text(mapped(&array)),
        Vector::Constant(Literal::Text(text)) => Vector::Constant(Literal::Text(f(&text).into())),
        _ => Vector::Constant(Literal::NULL),
    }
}

/// A number for each text, NULL where there is none.
pub(super) fn to_numbers(vector: &Vector, rows: usize, f: impl Fn(&str) -> Option<f64>) -> Vector {
    // NaN marks a text without a number; it becomes NULL with everything else that is not finite.
    let number = |text: &str| f(text).unwrap_or(f64::NAN);
    match vector {
        Vector::Tag(tags) => {
            let Some(values) = Texts::values(tags) else { return Vector::Constant(Literal::NULL) };
            let of_value: Vec<f64> = (0..values.len()).map(|index| number(values.value(index))).collect();
            let keys = tags.keys().values();
            let of_row = keys.iter().map(|key| of_value.get(*key as usize).copied().unwrap_or(f64::NAN));
            finite_numbers(of_row.collect(), tags.nulls().cloned())
        }
        Vector::Text(array) => {
            finite_numbers((0..rows).map(|row| number(array.value(row))).collect(), array.nulls().cloned())
        }
        Vector::Constant(Literal::Text(text)) => finite_numbers(vec![number(text); rows], None),
        _ => Vector::Constant(Literal::NULL),
    }
}

/// Whether each list has the text of its row. NULL members are never found.
pub(super) fn contains(list: &Vector, value: &Vector, rows: usize) -> BooleanArray {
    let (Vector::Tags(lists), Vector::Text(_) | Vector::Tag(_) | Vector::Constant(Literal::Text(_))) = (list, value)
    else {
        return BooleanArray::new_null(rows);
    };
    let Some(members) = lists.values().as_string_opt::<i32>() else { return BooleanArray::new_null(rows) };
    let texts = Texts::new(value);
    let found = BooleanBuffer::collect_bool(rows, |row| {
        let wanted = texts.get(row);
        range(lists, row).any(|member| members.value(member) == wanted && members.is_valid(member))
    });
    BooleanArray::new(found, super::union(lists.nulls(), value.nulls()))
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| lists.value_offsets().get(at).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    offset(row)..offset(row + 1)
}

/// How many members each list has.
pub(super) fn cardinality(list: &Vector, rows: usize) -> Vector {
    let Vector::Tags(lists) = list else { return Vector::Constant(Literal::NULL) };
    let sizes: Vec<f64> = (0..rows).map(|row| range(lists, row).len() as f64).collect();
    let nulls: Option<NullBuffer> = lists.nulls().cloned();
    Vector::Number(Float64Array::new(sizes.into(), nulls))
}
