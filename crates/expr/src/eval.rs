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

use crate::{Ast, Columns, Comparison, EvalError, Function, Kind, Literal};

type Evaluated = Result<Vector, EvalError>;

/// The value of `ast` for every row. This only chooses: the operands are evaluated by small functions, so that nesting
/// takes little stack.
pub(crate) fn evaluate(ast: &Ast, columns: &dyn Columns) -> Evaluated {
    match ast {
        Ast::Literal(literal) => Ok(Vector::Constant(literal.clone())),
        Ast::Column(column) => Vector::read(column, columns),
        Ast::Not(operand) => negate(evaluate(operand, columns)?, columns.rows()),
        Ast::And(operands) => and(operands, columns),
        Ast::Or(operands) => or(operands, columns),
        Ast::IsNull(_) | Ast::Between { .. } | Ast::In { .. } | Ast::Like { .. } | Ast::Contains { .. } => {
            test(ast, columns).map(Vector::Bool)
        }
        Ast::Compare { op, left, right } => comparison(*op, left, right, columns).map(Vector::Bool),
        Ast::Arithmetic { op, left, right, kind } => {
            let [left, right] = both(left, right, columns)?;
            Ok(arithmetic::arithmetic(*op, &left, &right, *kind, columns.rows()))
        }
        Ast::Call { function, arguments, kind } => call(*function, arguments, *kind, columns),
        Ast::Case { branches, otherwise, kind } => choose::case(branches, otherwise, *kind, columns),
        Ast::Cast { operand, to } => Ok(cast::cast(evaluate(operand, columns)?, *to, columns.rows())),
    }
}

fn both(left: &Ast, right: &Ast, columns: &dyn Columns) -> Result<[Vector; 2], EvalError> {
    Ok([evaluate(left, columns)?, evaluate(right, columns)?])
}

fn comparison(op: Comparison, left: &Ast, right: &Ast, columns: &dyn Columns) -> Result<BooleanArray, EvalError> {
    let [left, right] = both(left, right, columns)?;
    compare::compare(op, &left, &right, columns.rows())
}

/// Conditions on one value.
fn test(ast: &Ast, columns: &dyn Columns) -> Result<BooleanArray, EvalError> {
    let rows = columns.rows();
    Ok(match ast {
        Ast::IsNull(operand) => is_null(&evaluate(operand, columns)?, rows),
        Ast::In { operand, list } => compare::in_list(&evaluate(operand, columns)?, list, rows),
        Ast::Like { operand, pattern } => {
            text::predicate(&evaluate(operand, columns)?, rows, |text| pattern.matches(text))
        }
        Ast::Contains { list, value } => {
            let [list, value] = both(list, value, columns)?;
            text::contains(&list, &value, rows)
        }
        Ast::Between { operand, low, high } => {
            let [low, high] = both(low, high, columns)?;
            compare::between(&evaluate(operand, columns)?, &low, &high, rows)?
        }
        _ => BooleanArray::new_null(rows),
    })
}

fn call(function: Function, arguments: &[Ast], kind: Kind, columns: &dyn Columns) -> Evaluated {
    match function {
        Function::Coalesce => choose::coalesce(arguments, kind, columns),
        Function::NullIf => choose::null_if(arguments, kind, columns),
        Function::Greatest | Function::Least => choose::extreme(function, arguments, kind, columns),
        Function::Lower | Function::Upper | Function::Length | Function::Cardinality => {
            Ok(of_text(function, evaluate_first(arguments, columns)?, columns.rows()))
        }
        _ => arithmetic::call(function, arguments, columns),
    }
}

fn of_text(function: Function, text: Vector, rows: usize) -> Vector {
    match function {
        Function::Lower => text::map(text, str::to_lowercase),
        Function::Upper => text::map(text, str::to_uppercase),
        Function::Length => text::to_numbers(&text, rows, |text| Some(text.chars().count() as f64)),
        _ => text::cardinality(&text, rows),
    }
}

fn evaluate_first(arguments: &[Ast], columns: &dyn Columns) -> Evaluated {
    arguments.first().map_or(Ok(Vector::Constant(Literal::NULL)), |argument| evaluate(argument, columns))
}

fn negate(operand: Vector, rows: usize) -> Evaluated {
    Ok(match operand {
        Vector::Constant(Literal::Bool(value)) => Vector::Constant(Literal::Bool(!value)),
        Vector::Constant(_) => Vector::Constant(Literal::NULL),
        other => {
            let array = other.into_bools(rows);
            Vector::Bool(BooleanArray::new(!array.values(), array.nulls().cloned()))
        }
    })
}

fn is_null(operand: &Vector, rows: usize) -> BooleanArray {
    let bits = match operand {
        Vector::Constant(Literal::Null(_)) => BooleanBuffer::new_set(rows),
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
