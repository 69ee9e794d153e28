//! The typing rules: which operands go together, and what is coerced on the way. A text constant becomes a time where it
//! meets a time, a bool becomes a number in arithmetic; everything else must be of one kind already.

use tastemaker_types::Timestamp;

use crate::error::{At, ExprError};
use crate::fold::fold;
use crate::functions::Signature;
use crate::{Ast, Comparison, Function, InList, Kind, Literal, Operator};

/// A checked part of the text.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) ast: Ast,
    pub(crate) at: At,
    /// Levels of operators below and including this one.
    pub(crate) depth: u16,
}

type Typed = Result<Ast, ExprError>;

/// `tag 'category'` for a column, `a number` for anything else.
fn describe(ast: &Ast) -> String {
    match (ast, ast.kind()) {
        (Ast::Column(column), _) => format!("{} '{}'", column.noun, column.name),
        (_, Some(kind)) => kind.phrase().to_owned(),
        (_, None) => "NULL".to_owned(),
    }
}

/// Makes `node` a bool, or says that `what` takes one.
pub(crate) fn condition(node: Node, what: &str) -> Typed {
    match node.ast.kind() {
        Some(Kind::Bool) | None => Ok(node.ast),
        Some(_) => {
            Err(ExprError::type_error(format!("{what} takes a condition, not {}", describe(&node.ast)), node.at)
                .remedy("compare it with something"))
        }
    }
}

fn time_from_text(text: &str, at: At) -> Typed {
    let time: Timestamp = text.parse().map_err(|e| ExprError::constant(format!("{e}"), at))?;
    Ok(Ast::Literal(Literal::Time(time)))
}

/// Gives a text constant the kind that it is used as; others stay.
fn coerce_constant(node: &mut Node, kind: Option<Kind>) -> Result<(), ExprError> {
    if let (Ast::Literal(Literal::Text(text)), Some(Kind::Time)) = (&node.ast, kind) {
        node.ast = time_from_text(text, node.at)?;
    }
    Ok(())
}

/// The one kind of all nodes after coercion: none if all are NULL, an error naming the two that differ.
fn one_kind(nodes: &mut [Node]) -> Result<Option<Kind>, Box<(String, String, At)>> {
    let kind = nodes.iter().filter_map(|node| node.ast.kind()).find(|kind| *kind != Kind::Text);
    let mut first: Option<usize> = None;
    for index in 0..nodes.len() {
        if coerce_constant(&mut nodes[index], kind).is_err() {
            let literal = describe(&nodes[index].ast);
            return Err(Box::new((literal, "a time".to_owned(), nodes[index].at)));
        }
        let Some(found) = nodes[index].ast.kind() else { continue };
        match first.map(|first| &nodes[first]) {
            None => first = Some(index),
            Some(other) if other.ast.kind() != Some(found) => {
                return Err(Box::new((describe(&other.ast), describe(&nodes[index].ast), other.at)));
            }
            Some(_) => {}
        }
    }
    Ok(first.and_then(|first| nodes[first].ast.kind()))
}

pub(crate) fn compare(op: Comparison, mut left: Node, mut right: Node) -> Typed {
    coerce_constant(&mut left, right.ast.kind())?;
    coerce_constant(&mut right, left.ast.kind())?;
    let (a, b) = (left.ast.kind(), right.ast.kind());
    let refuse = |remedy: &str| {
        let message = format!("cannot compare {} with {}", describe(&left.ast), describe(&right.ast));
        Err(ExprError::type_error(message, left.at).remedy(remedy))
    };
    match (a, b) {
        (Some(Kind::Tags), _) | (_, Some(Kind::Tags)) => return refuse("use 'x' = ANY(list) or cardinality(list)"),
        (Some(Kind::Bool), Some(Kind::Bool)) if !matches!(op, Comparison::Equal | Comparison::NotEqual) => {
            return refuse("bools have no order; use = or <>");
        }
        (Some(a), Some(b)) if a != b => {
            return refuse(match (a, b) {
                (Kind::Bool, _) | (_, Kind::Bool) => "a bool stands alone, as in: available AND price < 200",
                (Kind::Text, Kind::Number) | (Kind::Number, Kind::Text) => "texts are quoted, numbers are not",
                (Kind::Time, Kind::Number) | (Kind::Number, Kind::Time) => "a time is written '2026-01-02T03:04:05Z'",
                (Kind::Time, Kind::Interval) | (Kind::Interval, Kind::Time) => {
                    "compare a time with now() - interval '7 days'"
                }
                _ => "",
            });
        }
        _ => {}
    }
    Ok(Ast::Compare { op, left: Box::new(left.ast), right: Box::new(right.ast) })
}

pub(crate) fn between(operand: Node, low: Node, high: Node) -> Typed {
    // Each bound is checked as the comparison that it stands for.
    let (operand_ast, low_ast) = pair(compare(Comparison::GreaterOrEqual, operand.clone(), low)?);
    let (_, high_ast) = pair(compare(Comparison::LessOrEqual, operand, high)?);
    Ok(Ast::Between { operand: Box::new(operand_ast), low: Box::new(low_ast), high: Box::new(high_ast) })
}

fn pair(comparison: Ast) -> (Ast, Ast) {
    match comparison {
        Ast::Compare { left, right, .. } => (*left, *right),
        other => (other, Ast::Literal(Literal::NULL)),
    }
}

pub(crate) fn in_list(operand: Node, items: Vec<Node>) -> Typed {
    let mut constants = Vec::with_capacity(items.len());
    let kind = operand.ast.kind();
    for item in items {
        let at = item.at;
        let tested = Node { ast: placeholder(&operand.ast), at: operand.at, depth: operand.depth };
        match pair(compare(Comparison::Equal, tested, item)?) {
            (_, Ast::Literal(literal)) if literal.kind().is_none_or(|found| kind.is_none_or(|kind| kind == found)) => {
                constants.push(literal);
            }
            _ => {
                return Err(ExprError::unsupported("a list of values that are not constants", at)
                    .remedy("write a = b OR a = c"));
            }
        }
    }
    Ok(Ast::In { operand: Box::new(operand.ast), list: InList::new(kind, constants) })
}

/// Something small that is described as `operand` is and has its kind.
fn placeholder(operand: &Ast) -> Ast {
    match (operand, operand.kind()) {
        (Ast::Column(_) | Ast::Literal(_), _) => operand.clone(),
        (_, kind) => Ast::Literal(Literal::Null(kind)),
    }
}

pub(crate) fn contains(list: Node, value: Node) -> Typed {
    match (list.ast.kind(), value.ast.kind()) {
        (Some(Kind::Tags) | None, Some(Kind::Text) | None) => {
            Ok(Ast::Contains { list: Box::new(list.ast), value: Box::new(value.ast) })
        }
        (Some(Kind::Tags), _) => {
            let message = format!("a list of texts cannot contain {}", describe(&value.ast));
            Err(ExprError::type_error(message, value.at).remedy("texts are quoted"))
        }
        _ => {
            let message = format!("expected a list, found {}", describe(&list.ast));
            Err(ExprError::type_error(message, list.at)
                .remedy("tags attributes and bound lists are lists; use = for others"))
        }
    }
}

/// A number as it is, a bool as 0 or 1.
fn to_number(ast: Ast) -> Ast {
    match ast.kind() {
        Some(Kind::Bool) => fold(Ast::Cast { operand: Box::new(ast), to: Kind::Number }),
        _ => ast,
    }
}

pub(crate) fn arithmetic(op: Operator, left: Node, right: Node) -> Typed {
    let (a, b) = (to_number(left.ast), to_number(right.ast));
    let kind = match (a.kind(), op, b.kind()) {
        (a, _, None) | (None, _, a) => return Ok(Ast::Literal(Literal::Null(a))),
        (Some(Kind::Number), _, Some(Kind::Number)) => Kind::Number,
        (Some(Kind::Time), Operator::Add | Operator::Subtract, Some(Kind::Interval))
        | (Some(Kind::Interval), Operator::Add, Some(Kind::Time)) => Kind::Time,
        (Some(Kind::Time), Operator::Subtract, Some(Kind::Time))
        | (Some(Kind::Interval), Operator::Add | Operator::Subtract, Some(Kind::Interval))
        | (Some(Kind::Interval), Operator::Multiply | Operator::Divide, Some(Kind::Number))
        | (Some(Kind::Number), Operator::Multiply, Some(Kind::Interval)) => Kind::Interval,
        (Some(Kind::Interval), Operator::Divide, Some(Kind::Interval)) => Kind::Number,
        _ => {
            let message = format!("{} does not go between {} and {}", op.symbol(), describe(&a), describe(&b));
            let remedy = match (a.kind(), b.kind()) {
                (Some(Kind::Time), Some(Kind::Number)) => "write a length of time as interval '7 days'",
                (Some(Kind::Text), _) | (_, Some(Kind::Text)) => "CAST(x AS number) reads a number from a text",
                _ => "",
            };
            return Err(ExprError::type_error(message, left.at).remedy(remedy));
        }
    };
    Ok(Ast::Arithmetic { op, left: Box::new(a), right: Box::new(b), kind })
}

pub(crate) fn call(function: Function, signature: Signature, arguments: Vec<Node>, at: At) -> Typed {
    let takes = |expected: &str, node: &Node| {
        ExprError::type_error(format!("{function} takes {expected}, not {}", describe(&node.ast)), node.at)
    };
    let all = |arguments: Vec<Node>, expected: Kind, kind: Kind| {
        let mut checked = Vec::with_capacity(arguments.len());
        for mut node in arguments {
            if expected == Kind::Number {
                node.ast = to_number(node.ast);
            }
            if node.ast.kind().is_some_and(|found| found != expected) {
                return Err(takes(expected.phrase(), &node));
            }
            checked.push(node.ast);
        }
        Ok(Ast::Call { function, arguments: checked, kind })
    };
    match signature {
        Signature::Numbers => {
            if let (Function::Round, Some(digits)) = (function, arguments.get(1))
                && !matches!(digits.ast, Ast::Literal(Literal::Number(n)) if n.fract() == 0.0 && n.abs() <= 15.0)
            {
                return Err(ExprError::constant("round takes a whole number of decimals from -15 to 15", digits.at));
            }
            all(arguments, Kind::Number, Kind::Number)
        }
        Signature::TextToText => all(arguments, Kind::Text, Kind::Text),
        Signature::TextToNumber => all(arguments, Kind::Text, Kind::Number),
        Signature::ListToNumber => all(arguments, Kind::Tags, Kind::Number),
        Signature::Same | Signature::SameOrdered => {
            let mut arguments = arguments;
            let kind = one_kind(&mut arguments).map_err(|mismatch| {
                let (a, b, at) = *mismatch;
                ExprError::type_error(format!("{function} takes values of one kind, not {a} and {b}"), at)
            })?;
            match kind {
                None => Ok(Ast::Literal(Literal::NULL)),
                Some(Kind::Tags) if function != Function::Coalesce => {
                    Err(ExprError::type_error(format!("{function} does not take a list"), at))
                }
                Some(Kind::Bool) if signature == Signature::SameOrdered => {
                    Err(ExprError::type_error(format!("{function} does not take a bool"), at)
                        .remedy("bools have no order; use AND or OR"))
                }
                Some(kind) => {
                    Ok(Ast::Call { function, arguments: arguments.into_iter().map(|node| node.ast).collect(), kind })
                }
            }
        }
    }
}

pub(crate) fn case(conditions: Vec<Ast>, mut values: Vec<Node>) -> Typed {
    let kind = one_kind(&mut values).map_err(|mismatch| {
        let (a, b, at) = *mismatch;
        ExprError::type_error(format!("CASE gives values of one kind, not {a} and {b}"), at)
    })?;
    let otherwise = values.pop().map_or(Ast::Literal(Literal::NULL), |node| node.ast);
    let Some(kind) = kind else { return Ok(Ast::Literal(Literal::NULL)) };
    let branches = conditions.into_iter().zip(values.into_iter().map(|node| node.ast)).collect();
    Ok(Ast::Case { branches, otherwise: Box::new(otherwise), kind })
}

pub(crate) fn cast(operand: Node, to: Kind) -> Typed {
    let allowed = match (operand.ast.kind(), to) {
        (None, _) => return Ok(Ast::Literal(Literal::Null(Some(to)))),
        (Some(from), to) if from == to => return Ok(operand.ast),
        (Some(Kind::Bool | Kind::Number | Kind::Text), Kind::Bool | Kind::Number | Kind::Text)
        | (Some(Kind::Text), Kind::Time)
        | (Some(Kind::Time), Kind::Text) => true,
        _ => false,
    };
    if !allowed {
        let message = format!("{} cannot be cast to {}", describe(&operand.ast), to.phrase());
        let remedy = match operand.ast.kind() {
            Some(Kind::Interval) => "divide by an interval, as in: (now() - released) / interval '1 day'",
            _ => "",
        };
        return Err(ExprError::type_error(message, operand.at).remedy(remedy));
    }
    Ok(Ast::Cast { operand: Box::new(operand.ast), to })
}
