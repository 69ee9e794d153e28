//! Why a text is not an expression, and why an expression does not fit a batch.

use std::borrow::Cow;
use std::fmt;

use arrow_schema::{ArrowError, DataType};

use crate::Kind;

/// Where in the text something is; both count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct At {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No such column.
    #[error("unknown attribute '{name}'")]
    UnknownAttribute {
        /// As written.
        name: String,
    },
    /// No such function.
    #[error("unknown function '{name}'")]
    UnknownFunction {
        /// As written.
        name: String,
    },
    /// A `:name` without a value.
    #[error("parameter ':{name}' has no value")]
    UnknownParameter {
        /// Without the colon.
        name: String,
    },
    /// Something that SQL has and expressions do not.
    #[error("{what} cannot be used")]
    Unsupported {
        /// By its name.
        what: String,
    },
    /// Another word or sign was expected here.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What could stand here.
        expected: Cow<'static, str>,
        /// What stands here.
        found: String,
    },
    /// Operands of the wrong kind.
    #[error("{message}")]
    Type {
        /// Which operand, its kind, and the kind it should be.
        message: String,
    },
    /// A constant that is not what it should be.
    #[error("{message}")]
    Constant {
        /// Why.
        message: String,
    },
    /// Larger than is accepted.
    #[error("{what} {found}; at most {limit} are accepted")]
    TooLarge {
        /// What is too large, with its verb.
        what: &'static str,
        /// Its size and unit.
        found: String,
        /// The largest accepted, in the same unit.
        limit: usize,
    },
}

/// A text that is not a valid expression: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// What is wrong.
    pub problem: Problem,
    /// What to do, as a clause (`did you mean 'price'?`); may be empty.
    pub remedy: String,
    /// What the text is to the user: `expression`, `filter`, `recommend.eligibility` …
    pub place: Cow<'static, str>,
    /// Line of the text, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl std::error::Error for ExprError {}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.problem, self.place)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        match self.line {
            1 => write!(f, " (column {})", self.column),
            line => write!(f, " (line {line}, column {})", self.column),
        }
    }
}

impl ExprError {
    pub(crate) fn new(problem: Problem, at: At) -> Self {
        Self {
            problem,
            remedy: String::new(),
            place: Cow::Borrowed("expression"),
            line: at.line.max(1),
            column: at.column.max(1),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, at: At) -> Self {
        Self::new(Problem::Unsupported { what: what.into() }, at)
    }

    pub(crate) fn type_error(message: impl Into<String>, at: At) -> Self {
        Self::new(Problem::Type { message: message.into() }, at)
    }

    pub(crate) fn constant(message: impl Into<String>, at: At) -> Self {
        Self::new(Problem::Constant { message: message.into() }, at)
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        self.remedy = remedy.strip_prefix("; ").map_or_else(|| remedy.clone(), str::to_owned);
        self
    }

    /// Says what the text is to the user: `filter`, `recommend.eligibility` …
    #[must_use]
    pub fn within(mut self, place: impl Into<Cow<'static, str>>) -> Self {
        self.place = place.into();
        self
    }
}

/// A batch that does not fit the schema that an expression was compiled against, or a failing kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The batch lacks a column.
    #[error("the batch has no column '{name}', which the expression reads")]
    MissingColumn {
        /// The column.
        name: String,
    },
    /// A column holds something else than the schema said.
    #[error("column '{name}' holds {found}, but the expression was compiled for {expected} values")]
    ColumnType {
        /// The column.
        name: String,
        /// What it holds.
        found: DataType,
        /// What it should hold.
        expected: Kind,
    },
    /// A column of the batch has another length than the batch.
    #[error("column '{name}' has {found} rows, the batch has {expected}")]
    ColumnLength {
        /// The column.
        name: String,
        /// Its rows.
        found: usize,
        /// The batch's rows.
        expected: usize,
    },
    /// A filter was asked of an expression that is not true or false.
    #[error("the expression is {found}, so it cannot be used as a filter; compare it with something")]
    NotAFilter {
        /// What it is.
        found: Kind,
    },
    /// An Arrow kernel failed.
    #[error("evaluation failed: {0}")]
    Arrow(#[from] ArrowError),
}
