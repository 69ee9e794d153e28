//! Arithmetic of numbers, times and intervals, and the functions of numbers.

use arrow_array::{DurationMicrosecondArray, TimestampMicrosecondArray};
use arrow_buffer::NullBuffer;

use super::lanes::{Lanes, finite_numbers, instants, numbers, zip};
use super::{Evaluated, Vector, evaluate, union};
use crate::{Ast, Columns, Function, Kind, Literal, Operator};

pub(super) fn arithmetic(op: Operator, left: &Vector, right: &Vector, kind: Kind, rows: usize) -> Vector {
    let is_number = |vector: &Vector| matches!(vector, Vector::Number(_) | Vector::Constant(Literal::Number(_)));
    match (is_number(left), is_number(right)) {
        (true, true) => {
            let (a, b) = (numbers(left), numbers(right));
            let values = match op {
                Operator::Add => zip(&a, &b, rows, |a, b| a + b),
                Operator::Subtract => zip(&a, &b, rows, |a, b| a - b),
                Operator::Multiply => zip(&a, &b, rows, |a, b| a * b),
                Operator::Divide => zip(&a, &b, rows, |a, b| a / b),
                Operator::Remainder => zip(&a, &b, rows, |a, b| a % b),
            };
            of_numbers(values, union(a.nulls(), b.nulls()))
        }
        (false, true) => scaled(&instants(left), &numbers(right), op, rows),
        (true, false) => scaled(&instants(right), &numbers(left), op, rows),
        (false, false) => {
            let (a, b) = (instants(left), instants(right));
            let nulls = union(a.nulls(), b.nulls());
            match (op, kind) {
                (Operator::Divide, _) => of_numbers(zip(&a, &b, rows, |a, b| a as f64 / b as f64), nulls),
                (Operator::Subtract, Kind::Time) => {
                    of_instants(zip(&a, &b, rows, |a, b| in_years(a.checked_sub(b))), nulls, kind)
                }
                (_, Kind::Time) => of_instants(zip(&a, &b, rows, |a, b| in_years(a.checked_add(b))), nulls, kind),
                (Operator::Subtract, _) => of_instants(zip(&a, &b, rows, i64::checked_sub), nulls, kind),
                _ => of_instants(zip(&a, &b, rows, i64::checked_add), nulls, kind),
            }
        }
    }
}

/// A time within the years 1 to 9999, which every time is; others have no name.
fn in_years(micros: Option<i64>) -> Option<i64> {
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_214_400_000_000;
    micros.filter(|micros| YEARS.contains(micros))
}

/// An interval times or divided by a number.
fn scaled(intervals: &Lanes<'_, i64>, factors: &Lanes<'_, f64>, op: Operator, rows: usize) -> Vector {
    let scale = |micros: i64, factor: f64| {
        let scaled = if op == Operator::Divide { micros as f64 / factor } else { micros as f64 * factor };
        (scaled.abs() < 9.0e18).then(|| scaled.round() as i64)
    };
    of_instants(zip(intervals, factors, rows, scale), union(intervals.nulls(), factors.nulls()), Kind::Interval)
}

fn of_numbers(values: Option<Vec<f64>>, nulls: Option<NullBuffer>) -> Vector {
    values.map_or(Vector::Constant(Literal::NULL), |values| finite_numbers(values, nulls))
}

fn of_instants(values: Option<Vec<Option<i64>>>, nulls: Option<NullBuffer>, kind: Kind) -> Vector {
    let Some(values) = values else { return Vector::Constant(Literal::NULL) };
    let in_range = values.iter().map(Option::is_some).collect::<NullBuffer>();
    let nulls = union(nulls.as_ref(), Some(&in_range));
    let micros: Vec<i64> = values.into_iter().map(Option::unwrap_or_default).collect();
    match kind {
        Kind::Time => Vector::Time(TimestampMicrosecondArray::new(micros.into(), nulls)),
        _ => Vector::Interval(DurationMicrosecondArray::new(micros.into(), nulls)),
    }
}

/// A function of one or two numbers.
pub(super) fn call(function: Function, arguments: &[Ast], columns: &dyn Columns) -> Evaluated {
    let rows = columns.rows();
    let vectors = arguments.iter().map(|argument| evaluate(argument, columns)).collect::<Result<Vec<_>, _>>()?;
    let lanes = |index: usize| vectors.get(index).map_or(Lanes::Null, numbers);
    let (a, b) = (lanes(0), lanes(1));
    let one = Lanes::One(());
    let map = |f: fn(f64) -> f64| zip(&a, &one, rows, |value, ()| f(value));
    let values = match function {
        Function::Abs => map(f64::abs),
        Function::Floor => map(f64::floor),
        Function::Ceil => map(f64::ceil),
        Function::Ln => map(f64::ln),
        Function::Log10 => map(f64::log10),
        Function::Exp => map(f64::exp),
        Function::Sqrt => map(f64::sqrt),
        Function::Round if vectors.len() == 1 => map(f64::round),
        Function::Round => zip(&a, &b, rows, round_to),
        Function::Power => zip(&a, &b, rows, f64::powf),
        _ => None,
    };
    Ok(of_numbers(values, union(a.nulls(), b.nulls())))
}

fn round_to(value: f64, digits: f64) -> f64 {
    let scale = 10f64.powf(digits);
    (value * scale).round() / scale
}
