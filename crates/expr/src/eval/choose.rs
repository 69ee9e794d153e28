//! Values chosen row by row from several candidates: `CASE`, `COALESCE`, `NULLIF`, `GREATEST` and `LEAST`.

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_select::nullif::nullif;
use arrow_select::zip::zip;

use super::{Evaluated, Vector, compare, evaluate, truth};
use crate::{Ast, Columns, Comparison, EvalError, Function, Kind, Literal};

fn array(ast: &Ast, kind: Kind, columns: &dyn Columns) -> Result<ArrayRef, EvalError> {
    evaluate(ast, columns)?.into_array(kind, columns.rows())
}

fn choose(mask: BooleanBuffer, yes: &ArrayRef, no: &ArrayRef) -> Result<ArrayRef, EvalError> {
    Ok(zip(&BooleanArray::new(mask, None), yes, no)?)
}

fn valid(array: &ArrayRef) -> BooleanBuffer {
    array.nulls().map_or_else(|| BooleanBuffer::new_set(array.len()), |nulls| nulls.inner().clone())
}

pub(super) fn case(branches: &[(Ast, Ast)], otherwise: &Ast, kind: Kind, columns: &dyn Columns) -> Evaluated {
    let mut result = array(otherwise, kind, columns)?;
    // From the last branch to the first, so that the first true one has the last word.
    for (when, then) in branches.iter().rev() {
        let condition = truth(&evaluate(when, columns)?.into_bools(columns.rows()));
        result = choose(condition, &array(then, kind, columns)?, &result)?;
    }
    Vector::from_array(&result, kind)
}

pub(super) fn coalesce(arguments: &[Ast], kind: Kind, columns: &dyn Columns) -> Evaluated {
    let mut result: Option<ArrayRef> = None;
    for argument in arguments {
        let next = array(argument, kind, columns)?;
        let so_far = match result {
            None => next,
            Some(first) => choose(valid(&first), &first, &next)?,
        };
        if so_far.null_count() == 0 {
            return Vector::from_array(&so_far, kind);
        }
        result = Some(so_far);
    }
    result.map_or(Ok(Vector::Constant(Literal::NULL)), |result| Vector::from_array(&result, kind))
}

pub(super) fn null_if(arguments: &[Ast], kind: Kind, columns: &dyn Columns) -> Evaluated {
    let [value, unwanted] = arguments else { return Ok(Vector::Constant(Literal::NULL)) };
    let (value, unwanted) = (evaluate(value, columns)?, evaluate(unwanted, columns)?);
    let equal = compare::compare(Comparison::Equal, &value, &unwanted, columns.rows())?;
    let value = value.into_array(kind, columns.rows())?;
    Vector::from_array(&nullif(&value, &BooleanArray::new(truth(&equal), None))?, kind)
}

/// `GREATEST` or `LEAST` of what is not NULL.
pub(super) fn extreme(function: Function, arguments: &[Ast], kind: Kind, columns: &dyn Columns) -> Evaluated {
    let op = if function == Function::Greatest { Comparison::GreaterOrEqual } else { Comparison::LessOrEqual };
    let mut best: Option<ArrayRef> = None;
    for argument in arguments {
        let next = array(argument, kind, columns)?;
        best = Some(match best {
            None => next,
            Some(best) => {
                let (a, b) = (Vector::from_array(&best, kind)?, Vector::from_array(&next, kind)?);
                let wins = truth(&compare::compare(op, &a, &b, columns.rows())?);
                choose(&wins | &!&valid(&next), &best, &next)?
            }
        });
    }
    best.map_or(Ok(Vector::Constant(Literal::NULL)), |best| Vector::from_array(&best, kind))
}
