//! The normal form of a checked expression: what caches are keyed by, and what users are shown.

use std::fmt::{self, Display, Formatter, Write};

use crate::{Ast, Column, Kind, Literal};

/// Writes `text` as a SQL string.
pub(crate) fn quote(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    delimit(text, '\'', f)
}

fn delimit(text: &str, mark: char, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char(mark)?;
    for (index, piece) in text.split(mark).enumerate() {
        if index > 0 {
            f.write_char(mark)?;
            f.write_char(mark)?;
        }
        f.write_str(piece)?;
    }
    f.write_char(mark)
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(_) => f.write_str("NULL"),
            Self::Bool(true) => f.write_str("TRUE"),
            Self::Bool(false) => f.write_str("FALSE"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => quote(text, f),
            Self::Time(time) => write!(f, "TIMESTAMP '{time}'"),
            Self::Interval(micros) => write!(f, "INTERVAL '{micros} microseconds'"),
        }
    }
}

impl Display for Column {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        delimit(&self.name, '"', f)
    }
}

fn join<'a>(operands: impl IntoIterator<Item = &'a Ast>, between: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    for (index, operand) in operands.into_iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        operand.fmt(f)?;
    }
    f.write_char(')')
}

impl Display for Ast {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Column(column) => column.fmt(f),
            Self::Not(operand) => write!(f, "(NOT {operand})"),
            Self::IsNull(operand) => write!(f, "({operand} IS NULL)"),
            Self::And(operands) => join(operands, " AND ", f),
            Self::Or(operands) => join(operands, " OR ", f),
            Self::Compare { op, left, right } => write!(f, "({left} {} {right})", op.symbol()),
            Self::Between { operand, low, high } => write!(f, "({operand} BETWEEN {low} AND {high})"),
            Self::In { operand, list } => write!(f, "({operand} IN {list})"),
            Self::Like { operand, pattern } => write!(f, "({operand} {pattern})"),
            Self::Contains { list, value } => write!(f, "({value} = ANY({list}))"),
            Self::Arithmetic { op, left, right, .. } => write!(f, "({left} {} {right})", op.symbol()),
            Self::Call { function, arguments, .. } => {
                function.fmt(f)?;
                join(arguments, ", ", f)
            }
            Self::Case { branches, otherwise, .. } => {
                f.write_str("CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                write!(f, " ELSE {otherwise} END")
            }
            Self::Cast { operand, to } => write!(f, "CAST({operand} AS {})", sql_type(*to)),
        }
    }
}

/// The name that `CAST` takes for a kind.
fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Number => "number",
        Kind::Time => "timestamp",
        Kind::Text | Kind::Tags | Kind::Interval => "text",
    }
}
