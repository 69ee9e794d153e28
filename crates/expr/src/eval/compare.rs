//! Comparisons to bools: two values of one kind, a range, or a list of constants.

use std::cmp::Ordering;

use arrow_arith::boolean::and_kleene;
use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::lanes::{Lanes, bits, instants, numbers, zip_bits};
use super::text::{self, Texts};
use super::{Vector, union};
use crate::list::Lookup;
use crate::{Comparison, EvalError, InList, Literal};

pub(super) fn compare(op: Comparison, left: &Vector, right: &Vector, rows: usize) -> Result<BooleanArray, EvalError> {
    Ok(match (left, right) {
        (Vector::Constant(Literal::Null(_)), _) | (_, Vector::Constant(Literal::Null(_))) => {
            BooleanArray::new_null(rows)
        }
        (Vector::Number(_) | Vector::Constant(Literal::Number(_)), _) => {
            ordered(op, &numbers(left), &numbers(right), rows)
        }
        (Vector::Bool(_) | Vector::Constant(Literal::Bool(_)), _) => {
            let (a, b) = (left.clone().into_bools(rows), right.clone().into_bools(rows));
            let differ = a.values() ^ b.values();
            let bits = if op == Comparison::Equal { !&differ } else { differ };
            BooleanArray::new(bits, union(a.nulls(), b.nulls()))
        }
        (Vector::Text(_) | Vector::Tag(_) | Vector::Constant(Literal::Text(_)), _) => texts(op, left, right, rows),
        _ => ordered(op, &instants(left), &instants(right), rows),
    })
}

fn ordered<T: Copy + PartialOrd>(op: Comparison, a: &Lanes<'_, T>, b: &Lanes<'_, T>, rows: usize) -> BooleanArray {
    let bits = match op {
        Comparison::Equal => zip_bits(a, b, rows, |a, b| a == b),
        Comparison::NotEqual => zip_bits(a, b, rows, |a, b| a != b),
        Comparison::Less => zip_bits(a, b, rows, |a, b| a < b),
        Comparison::LessOrEqual => zip_bits(a, b, rows, |a, b| a <= b),
        Comparison::Greater => zip_bits(a, b, rows, |a, b| a > b),
        Comparison::GreaterOrEqual => zip_bits(a, b, rows, |a, b| a >= b),
    };
    match bits {
        Some(bits) => BooleanArray::new(bits, union(a.nulls(), b.nulls())),
        None => BooleanArray::new_null(rows),
    }
}

fn holds(op: Comparison, ordering: Ordering) -> bool {
    match op {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

fn texts(op: Comparison, left: &Vector, right: &Vector, rows: usize) -> BooleanArray {
    match (left, right) {
        (_, Vector::Constant(Literal::Text(constant))) => {
            text::predicate(left, rows, |text| holds(op, text.cmp(constant)))
        }
        (Vector::Constant(Literal::Text(_)), _) => texts(op.swapped(), right, left, rows),
        _ => {
            let (a, b) = (Texts::new(left), Texts::new(right));
            let bits = BooleanBuffer::collect_bool(rows, |row| holds(op, a.get(row).cmp(b.get(row))));
            BooleanArray::new(bits, union(left.nulls(), right.nulls()))
        }
    }
}

pub(super) fn between(operand: &Vector, low: &Vector, high: &Vector, rows: usize) -> Result<BooleanArray, EvalError> {
    let above = compare(Comparison::GreaterOrEqual, operand, low, rows)?;
    let below = compare(Comparison::LessOrEqual, operand, high, rows)?;
    Ok(and_kleene(&above, &below)?)
}

/// Equal to a member; NULL if it is not and NULL is a member. Nothing, not even NULL, is in an empty list.
pub(super) fn in_list(operand: &Vector, list: &InList, rows: usize) -> BooleanArray {
    if list.values().is_empty() && !list.has_null() {
        return BooleanArray::new(BooleanBuffer::new_unset(rows), None);
    }
    let found = match list.lookup() {
        Lookup::Numbers(members) => one_sided(&numbers(operand), rows, |n| Lookup::has_number(members, n)),
        Lookup::Instants(members) => one_sided(&instants(operand), rows, |n| Lookup::has_instant(members, n)),
        Lookup::Bools([has_false, has_true]) => {
            let array = operand.clone().into_bools(rows);
            let bits = bits_of_bools(&array, *has_false, *has_true);
            BooleanArray::new(bits, array.nulls().cloned())
        }
        texts @ (Lookup::Texts(_) | Lookup::TextSet(_)) => text::predicate(operand, rows, |text| texts.has_text(text)),
        Lookup::Nothing => BooleanArray::new_null(rows),
    };
    if !list.has_null() {
        return found;
    }
    let found_and_valid = super::truth(&found);
    BooleanArray::new(found_and_valid.clone(), Some(NullBuffer::new(found_and_valid)))
}

fn one_sided<T: Copy>(lanes: &Lanes<'_, T>, rows: usize, f: impl Fn(T) -> bool) -> BooleanArray {
    match lanes {
        Lanes::Many(values, nulls) => BooleanArray::new(bits(values, f), nulls.cloned()),
        Lanes::One(value) => BooleanArray::new(
            if f(*value) { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) },
            None,
        ),
        Lanes::Null => BooleanArray::new_null(rows),
    }
}

fn bits_of_bools(array: &BooleanArray, has_false: bool, has_true: bool) -> BooleanBuffer {
    match (has_false, has_true) {
        (true, true) => BooleanBuffer::new_set(array.len()),
        (false, true) => array.values().clone(),
        (true, false) => !array.values(),
        (false, false) => BooleanBuffer::new_unset(array.len()),
    }
}
