//! Vectorised evaluation: every node of the tree becomes one kernel call over all rows. Two rules keep the kernels
//! free of errors: a computation whose result is not a finite number gives NULL (so does a NaN in a column), and a cast
//! that finds no value gives NULL.

mod arithmetic;
mod cast;
mod choose;
mod compare;
mod lanes;
mod text;
mod vector;

use arrow_arith::boolean::{and_kleene, or_kleene};
use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

pub(crate) use vector::Vector;

use crate::{Ast, Columns, EvalError, Function, Literal};

type Evaluated = Result<Vector, EvalError>;

/// The value of `ast` for every row.
pub(crate) fn evaluate(ast: &Ast, columns: &dyn Columns) -> Evaluated {
    let rows = columns.rows();
    match ast {
        Ast::Literal(literal) => Ok(Vector::Constant(literal.clone())),
        Ast::Column(column) => Vector::read(column, columns),
        Ast::Not(operand) => negate(evaluate(operand, columns)?, rows),
        Ast::IsNull(operand) => Ok(Vector::Bool(is_null(&evaluate(operand, columns)?, rows))),
        Ast::And(operands) => and(operands, columns),
        Ast::Or(operands) => or(operands, columns),
        Ast::Compare { op, left, right } => {
            compare::compare(*op, &evaluate(left, columns)?, &evaluate(right, columns)?, rows).map(Vector::Bool)
        }
        Ast::Between { operand, low, high } => {
            let operand = evaluate(operand, columns)?;
            compare::between(&operand, &evaluate(low, columns)?, &evaluate(high, columns)?, rows).map(Vector::Bool)
        }
        Ast::In { operand, list } => Ok(Vector::Bool(compare::in_list(&evaluate(operand, columns)?, list, rows))),
        Ast::Like { operand, pattern } => {
            Ok(Vector::Bool(text::predicate(&evaluate(operand, columns)?, rows, |text| pattern.matches(text))))
        }
        Ast::Contains { list, value } => {
            Ok(Vector::Bool(text::contains(&evaluate(list, columns)?, &evaluate(value, columns)?, rows)))
        }
        Ast::Arithmetic { op, left, right, kind } => {
            let (left, right) = (evaluate(left, columns)?, evaluate(right, columns)?);
            Ok(arithmetic::arithmetic(*op, &left, &right, *kind, rows))
        }
        Ast::Call { function, arguments, kind } => match function {
            Function::Coalesce => choose::coalesce(arguments, *kind, columns),
            Function::NullIf => choose::null_if(arguments, *kind, columns),
            Function::Greatest | Function::Least => choose::extreme(*function, arguments, *kind, columns),
            Function::Lower => Ok(text::map(evaluate_first(arguments, columns)?, str::to_lowercase)),
            Function::Upper => Ok(text::map(evaluate_first(arguments, columns)?, str::to_uppercase)),
            Function::Length => Ok(text::to_numbers(&evaluate_first(arguments, columns)?, rows, |text| {
                Some(text.chars().count() as f64)
            })),
            Function::Cardinality => Ok(text::cardinality(&evaluate_first(arguments, columns)?, rows)),
            _ => arithmetic::call(*function, arguments, columns),
        },
        Ast::Case { branches, otherwise, kind } => choose::case(branches, otherwise, *kind, columns),
        Ast::Cast { operand, to } => Ok(cast::cast(evaluate(operand, columns)?, *to, rows)),
    }
}

fn evaluate_first(arguments: &[Ast], columns: &dyn Columns) -> Evaluated {
    arguments.first().map_or(Ok(Vector::Constant(Literal::Null)), |argument| evaluate(argument, columns))
}

fn negate(operand: Vector, rows: usize) -> Evaluated {
    Ok(match operand {
        Vector::Constant(Literal::Bool(value)) => Vector::Constant(Literal::Bool(!value)),
        Vector::Constant(_) => Vector::Constant(Literal::Null),
        other => {
            let array = other.into_bools(rows);
            Vector::Bool(BooleanArray::new(!array.values(), array.nulls().cloned()))
        }
    })
}

fn is_null(operand: &Vector, rows: usize) -> BooleanArray {
    let bits = match operand {
        Vector::Constant(Literal::Null) => BooleanBuffer::new_set(rows),
        other => match other.nulls() {
            None => BooleanBuffer::new_unset(rows),
            Some(nulls) => !nulls.inner(),
        },
    };
    BooleanArray::new(bits, None)
}

/// Stops as soon as no row can be true any more.
fn and(operands: &[Ast], columns: &dyn Columns) -> Evaluated {
    let rows = columns.rows();
    let mut all: Option<BooleanArray> = None;
    for operand in operands {
        let next = evaluate(operand, columns)?.into_bools(rows);
        let so_far = match all {
            None => next,
            Some(all) if all.nulls().is_none() && next.nulls().is_none() => {
                BooleanArray::new(all.values() & next.values(), None)
            }
            Some(all) => and_kleene(&all, &next)?,
        };
        if so_far.nulls().is_none() && !so_far.has_true() {
            return Ok(Vector::Bool(so_far));
        }
        all = Some(so_far);
    }
    Ok(all.map_or(Vector::Constant(Literal::Bool(true)), Vector::Bool))
}

/// Stops as soon as every row is true.
fn or(operands: &[Ast], columns: &dyn Columns) -> Evaluated {
    let rows = columns.rows();
    let mut any: Option<BooleanArray> = None;
    for operand in operands {
        let next = evaluate(operand, columns)?.into_bools(rows);
        let so_far = match any {
            None => next,
            Some(any) if any.nulls().is_none() && next.nulls().is_none() => {
                BooleanArray::new(any.values() | next.values(), None)
            }
            Some(any) => or_kleene(&any, &next)?,
        };
        if so_far.nulls().is_none() && !so_far.has_false() {
            return Ok(Vector::Bool(so_far));
        }
        any = Some(so_far);
    }
    Ok(any.map_or(Vector::Constant(Literal::Bool(false)), Vector::Bool))
}

/// The rows that are true: NULL counts as false.
pub(crate) fn truth(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        None => array.values().clone(),
        Some(nulls) => array.values() & nulls.inner(),
    }
}

/// Valid where both are.
fn union(a: Option<&NullBuffer>, b: Option<&NullBuffer>) -> Option<NullBuffer> {
    NullBuffer::union(a, b).filter(|nulls| nulls.null_count() > 0)
}
