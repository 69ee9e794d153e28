//! The functions of the language: their names, how many arguments they take and of which kinds.

use std::fmt;
use std::ops::RangeInclusive;

/// A function of the values of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// Absolute value.
    Abs,
    /// To the nearest whole number, halves away from zero; with a second argument, to that many decimals.
    Round,
    /// Largest whole number that is not larger.
    Floor,
    /// Smallest whole number that is not smaller.
    Ceil,
    /// Natural logarithm.
    Ln,
    /// Decimal logarithm.
    Log10,
    /// e to the power of the argument.
    Exp,
    /// Square root.
    Sqrt,
    /// First argument to the power of the second.
    Power,
    /// In lower case.
    Lower,
    /// In upper case.
    Upper,
    /// Number of characters.
    Length,
    /// First argument that is not NULL.
    Coalesce,
    /// NULL if both arguments are equal, else the first.
    NullIf,
    /// Largest argument that is not NULL.
    Greatest,
    /// Smallest argument that is not NULL.
    Least,
    /// Number of members of a list.
    Cardinality,
}

/// Which arguments a function takes and what it makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Numbers to a number; bools count as numbers.
    Numbers,
    /// One text to a text.
    TextToText,
    /// One text to a number.
    TextToNumber,
    /// One list to a number.
    ListToNumber,
    /// Arguments of any one kind, to that kind.
    Same,
    /// Arguments of any one kind that has an order, to that kind.
    SameOrdered,
}

/// Every function by every name, the first name of each being the one it is printed with.
const FUNCTIONS: [(&str, Function, RangeInclusive<usize>, Signature); 20] = [
    ("abs", Function::Abs, 1..=1, Signature::Numbers),
    ("round", Function::Round, 1..=2, Signature::Numbers),
    ("floor", Function::Floor, 1..=1, Signature::Numbers),
    ("ceil", Function::Ceil, 1..=1, Signature::Numbers),
    ("ceiling", Function::Ceil, 1..=1, Signature::Numbers),
    ("ln", Function::Ln, 1..=1, Signature::Numbers),
    ("log10", Function::Log10, 1..=1, Signature::Numbers),
    ("exp", Function::Exp, 1..=1, Signature::Numbers),
    ("sqrt", Function::Sqrt, 1..=1, Signature::Numbers),
    ("power", Function::Power, 2..=2, Signature::Numbers),
    ("pow", Function::Power, 2..=2, Signature::Numbers),
    ("lower", Function::Lower, 1..=1, Signature::TextToText),
    ("upper", Function::Upper, 1..=1, Signature::TextToText),
    ("length", Function::Length, 1..=1, Signature::TextToNumber),
    ("char_length", Function::Length, 1..=1, Signature::TextToNumber),
    ("coalesce", Function::Coalesce, 1..=64, Signature::Same),
    ("nullif", Function::NullIf, 2..=2, Signature::Same),
    ("greatest", Function::Greatest, 1..=64, Signature::SameOrdered),
    ("least", Function::Least, 1..=64, Signature::SameOrdered),
    ("cardinality", Function::Cardinality, 1..=1, Signature::ListToNumber),
];

/// Names that the parser treats itself.
const SPECIAL: [&str; 3] = ["now", "array_contains", "cast"];

/// Functions of many rows, which people will try.
const AGGREGATES: [&str; 16] = [
    "sum",
    "count",
    "avg",
    "min",
    "max",
    "median",
    "stddev",
    "variance",
    "array_agg",
    "string_agg",
    "row_number",
    "rank",
    "dense_rank",
    "lag",
    "lead",
    "first_value",
];

impl Function {
    /// The function of this name in lower case.
    pub(crate) fn find(name: &str) -> Option<(Self, RangeInclusive<usize>, Signature)> {
        let (_, function, arity, signature) = FUNCTIONS.iter().find(|(known, ..)| *known == name)?;
        Some((*function, arity.clone(), *signature))
    }

    /// Every name that can be called.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().map(|(name, ..)| *name).chain(SPECIAL)
    }

    /// Whether NULL in any argument makes the result NULL.
    pub(crate) fn is_strict(self) -> bool {
        !matches!(self, Self::Coalesce | Self::NullIf | Self::Greatest | Self::Least)
    }
}

/// Whether a name in lower case is that of a function of many rows.
pub(crate) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FUNCTIONS.iter().find(|(_, function, ..)| function == self).map_or("", |(name, ..)| *name);
        f.write_str(name)
    }
}
