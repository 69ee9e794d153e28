//! Loops over plain values: the inner loops are over slices without branches, so that the compiler vectorises them.

use arrow_array::{Array, Float64Array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

use super::Vector;
use crate::Literal;

/// The rows of an operand as plain values.
pub(super) enum Lanes<'a, T> {
    /// The same for all rows.
    One(T),
    /// One each, and which are valid.
    Many(&'a [T], Option<&'a NullBuffer>),
    /// All NULL.
    Null,
}

impl<'a, T> Lanes<'a, T> {
    pub(super) fn nulls(&self) -> Option<&'a NullBuffer> {
        if let Self::Many(_, nulls) = self { *nulls } else { None }
    }
}

/// Numbers as they are, bools as 0 and 1 having been cast before.
pub(super) fn numbers(vector: &Vector) -> Lanes<'_, f64> {
    match vector {
        Vector::Number(array) => Lanes::Many(array.values(), array.nulls()),
        Vector::Constant(Literal::Number(number)) => Lanes::One(*number),
        _ => Lanes::Null,
    }
}

/// Times and intervals in microseconds.
pub(super) fn instants(vector: &Vector) -> Lanes<'_, i64> {
    match vector {
        Vector::Time(array) => Lanes::Many(array.values(), array.nulls()),
        Vector::Interval(array) => Lanes::Many(array.values(), array.nulls()),
        Vector::Constant(Literal::Time(time)) => Lanes::One(time.as_micros()),
        Vector::Constant(Literal::Interval(micros)) => Lanes::One(*micros),
        _ => Lanes::Null,
    }
}

/// `f` of every pair; `None` if one side is all NULL. NULL rows are computed too, from whatever stands there.
pub(super) fn zip<A: Copy, B: Copy, U: Clone>(
    a: &Lanes<'_, A>,
    b: &Lanes<'_, B>,
    rows: usize,
    f: impl Fn(A, B) -> U,
) -> Option<Vec<U>> {
    Some(match (a, b) {
        (Lanes::Many(a, _), Lanes::Many(b, _)) => a.iter().zip(*b).map(|(&a, &b)| f(a, b)).collect(),
        (Lanes::Many(a, _), Lanes::One(b)) => a.iter().map(|&a| f(a, *b)).collect(),
        (Lanes::One(a), Lanes::Many(b, _)) => b.iter().map(|&b| f(*a, b)).collect(),
        (Lanes::One(a), Lanes::One(b)) => vec![f(*a, *b); rows],
        _ => return None,
    })
}

/// As [`zip`], to one bit each.
pub(super) fn zip_bits<T: Copy>(
    a: &Lanes<'_, T>,
    b: &Lanes<'_, T>,
    rows: usize,
    f: impl Fn(T, T) -> bool,
) -> Option<BooleanBuffer> {
    Some(match (a, b) {
        (Lanes::Many(a, _), Lanes::Many(b, _)) => {
            let words = a.chunks(64).zip(b.chunks(64)).map(|(a, b)| {
                a.iter().zip(b).enumerate().fold(0, |word, (bit, (&a, &b))| word | u64::from(f(a, b)) << bit)
            });
            from_words(words.collect(), a.len().min(b.len()))
        }
        (Lanes::Many(a, _), Lanes::One(b)) => bits(a, |a| f(a, *b)),
        (Lanes::One(a), Lanes::Many(b, _)) => bits(b, |b| f(*a, b)),
        (Lanes::One(a), Lanes::One(b)) => {
            if f(*a, *b) {
                BooleanBuffer::new_set(rows)
            } else {
                BooleanBuffer::new_unset(rows)
            }
        }
        _ => return None,
    })
}

/// One bit for each value.
pub(super) fn bits<T: Copy>(values: &[T], f: impl Fn(T) -> bool) -> BooleanBuffer {
    let words = values
        .chunks(64)
        .map(|chunk| chunk.iter().enumerate().fold(0, |word, (bit, &value)| word | u64::from(f(value)) << bit));
    from_words(words.collect(), values.len())
}

fn from_words(words: Vec<u64>, len: usize) -> BooleanBuffer {
    BooleanBuffer::new(Buffer::from_vec(words), 0, len)
}

/// The same numbers, with NULL for those that are not finite.
pub(super) fn finite(array: Float64Array) -> Float64Array {
    if array.values().iter().fold(true, |all, value| all & value.is_finite()) {
        return array;
    }
    let (_, values, nulls) = array.into_parts();
    let valid = NullBuffer::new(bits(&values, f64::is_finite));
    let nulls = super::union(nulls.as_ref(), Some(&valid));
    Float64Array::new(values, nulls)
}

/// Computed numbers, with NULL where an operand is or where the result is not finite.
pub(super) fn finite_numbers(values: Vec<f64>, nulls: Option<NullBuffer>) -> Vector {
    Vector::Number(finite(Float64Array::new(values.into(), nulls)))
}
