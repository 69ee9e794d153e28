//! The checked expression: a small tree whose operands have the kinds that their operators take. Backends that have
//! filters of their own translate from it.

use std::sync::Arc;

use tastemaker_types::Timestamp;

use crate::{Column, Function, InList, Kind, LikePattern};

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Of the kind of what was folded into it; a NULL that was written goes with any kind.
    Null(Option<Kind>),
    /// True or false.
    Bool(bool),
    /// Finite.
    Number(f64),
    /// A text.
    Text(Arc<str>),
    /// An instant.
    Time(Timestamp),
    /// A length of time in microseconds; may be negative.
    Interval(i64),
}

impl Literal {
    /// As it is written.
    pub const NULL: Self = Self::Null(None);

    /// Its kind; none for NULL.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Null(kind) => return *kind,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Time(_) => Kind::Time,
            Self::Interval(_) => Kind::Interval,
        })
    }
}

/// How two values of one kind are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparison that says the same with its operands exchanged.
    pub fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, with the sign of the dividend.
    Remainder,
}

impl Operator {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A checked and folded expression. Its `Display` is the normal form: fully parenthesised SQL with parameters, `now()`
/// and constant parts replaced by their values.
#[derive(Debug, Clone, PartialEq)]
pub enum Ast {
    /// A constant.
    Literal(Literal),
    /// A column.
    Column(Column),
    /// Negation of a bool; NULL stays NULL.
    Not(Box<Ast>),
    /// Whether a value is NULL; never NULL itself.
    IsNull(Box<Ast>),
    /// All of at least two bools, none of them an `And`.
    And(Vec<Ast>),
    /// Any of at least two bools, none of them an `Or`.
    Or(Vec<Ast>),
    /// Two values of one kind.
    Compare {
        /// How.
        op: Comparison,
        /// First operand.
        left: Box<Ast>,
        /// Second operand.
        right: Box<Ast>,
    },
    /// `operand >= low AND operand <= high`.
    Between {
        /// The value.
        operand: Box<Ast>,
        /// Inclusive.
        low: Box<Ast>,
        /// Inclusive.
        high: Box<Ast>,
    },
    /// Equal to one of a list of constants.
    In {
        /// The value.
        operand: Box<Ast>,
        /// Constants of its kind.
        list: InList,
    },
    /// A text that matches a pattern.
    Like {
        /// The text.
        operand: Box<Ast>,
        /// With `%` and `_`.
        pattern: LikePattern,
    },
    /// A list of texts that has a text as a member.
    Contains {
        /// The list.
        list: Box<Ast>,
        /// The member.
        value: Box<Ast>,
    },
    /// Two numbers, or times and intervals.
    Arithmetic {
        /// How.
        op: Operator,
        /// First operand.
        left: Box<Ast>,
        /// Second operand.
        right: Box<Ast>,
        /// Of the result.
        kind: Kind,
    },
    /// A function of checked arguments.
    Call {
        /// Which.
        function: Function,
        /// As many as it takes.
        arguments: Vec<Ast>,
        /// Of the result.
        kind: Kind,
    },
    /// The value of the first branch whose condition is true.
    Case {
        /// Conditions and values.
        branches: Vec<(Ast, Ast)>,
        /// When no condition is true.
        otherwise: Box<Ast>,
        /// Of the result.
        kind: Kind,
    },
    /// Another kind of the same value, or NULL where there is none.
    Cast {
        /// The value.
        operand: Box<Ast>,
        /// The kind.
        to: Kind,
    },
}

impl Ast {
    /// Of its value; none if it is the constant NULL.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Literal(literal) => literal.kind(),
            Self::Column(column) => Some(column.kind),
            Self::Not(_)
            | Self::IsNull(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Compare { .. }
            | Self::Between { .. }
            | Self::In { .. }
            | Self::Like { .. }
            | Self::Contains { .. } => Some(Kind::Bool),
            Self::Arithmetic { kind, .. } | Self::Call { kind, .. } | Self::Case { kind, .. } => Some(*kind),
            Self::Cast { to, .. } => Some(*to),
        }
    }

    /// Its direct operands, in the order they are written.
    pub fn operands(&self) -> Vec<&Ast> {
        match self {
            Self::Literal(_) | Self::Column(_) => Vec::new(),
            Self::Not(operand)
            | Self::IsNull(operand)
            | Self::In { operand, .. }
            | Self::Like { operand, .. }
            | Self::Cast { operand, .. } => vec![operand],
            Self::And(operands) | Self::Or(operands) | Self::Call { arguments: operands, .. } => {
                operands.iter().collect()
            }
            Self::Compare { left, right, .. } | Self::Arithmetic { left, right, .. } => vec![left, right],
            Self::Contains { list, value } => vec![list, value],
            Self::Between { operand, low, high } => vec![operand, low, high],
            Self::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain([&**otherwise]).collect()
            }
        }
    }
}
