//! Constant folding, one node at a time from the leaves up: what depends on no column is computed once, by the same
//! kernels that compute everything else.

use arrow_array::ArrayRef;

use crate::{Ast, Column, Columns, Literal, eval};

/// One row without columns.
struct OneRow;

impl Columns for OneRow {
    fn rows(&self) -> usize {
        1
    }

    fn column(&self, _: &Column) -> Option<&ArrayRef> {
        None
    }
}

/// The same value, simpler. The operands are folded already.
pub(crate) fn fold(ast: Ast) -> Ast {
    match ast {
        Ast::Literal(_) | Ast::Column(_) => return ast,
        Ast::And(operands) => return junction(operands, true, Ast::And),
        Ast::Or(operands) => return junction(operands, false, Ast::Or),
        Ast::Not(operand) => {
            if let Ast::Not(inner) = *operand {
                return *inner;
            }
            return constant(Ast::Not(operand));
        }
        _ => {}
    }
    constant(ast)
}

fn constant(ast: Ast) -> Ast {
    let operands = ast.operands();
    let is_null = |operand: &&Ast| matches!(operand, Ast::Literal(Literal::Null(_)));
    if is_strict(&ast) && operands.iter().any(is_null) {
        return Ast::Literal(Literal::Null(ast.kind()));
    }
    if let Ast::Case { branches, otherwise, kind } = &ast
        && branches.iter().map(|(_, value)| value).chain([&**otherwise]).all(|value| is_null(&value))
    {
        return Ast::Literal(Literal::Null(Some(*kind)));
    }
    if !operands.iter().all(|operand| matches!(operand, Ast::Literal(_))) {
        return ast;
    }
    match eval::evaluate(&ast, &OneRow).map(|value| value.first()) {
        Ok(Some(Literal::Null(_))) => Ast::Literal(Literal::Null(ast.kind())),
        Ok(Some(literal)) => Ast::Literal(literal),
        _ => ast,
    }
}

/// Whether NULL in any operand makes the result NULL.
fn is_strict(ast: &Ast) -> bool {
    match ast {
        Ast::Not(_)
        | Ast::Compare { .. }
        | Ast::Like { .. }
        | Ast::Contains { .. }
        | Ast::Arithmetic { .. }
        | Ast::Cast { .. } => true,
        Ast::Call { function, .. } => function.is_strict(),
        _ => false,
    }
}

/// `AND` (neutral true) or `OR` (neutral false) without neutral operands, and constant if one operand decides.
fn junction(operands: Vec<Ast>, neutral: bool, rebuild: fn(Vec<Ast>) -> Ast) -> Ast {
    let literal = |value| Ast::Literal(Literal::Bool(value));
    if operands.contains(&literal(!neutral)) {
        return literal(!neutral);
    }
    let mut kept: Vec<Ast> = operands.into_iter().filter(|operand| *operand != literal(neutral)).collect();
    match (kept.len(), kept.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            kept.push(last);
            rebuild(kept)
        }
        (_, None) => literal(neutral),
    }
}
