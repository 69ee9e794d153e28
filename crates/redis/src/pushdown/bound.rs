//! Filters that pass at least what they should, and how they combine.

/// What a filter passes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Passes {
    All,
    None,
    These(String),
}

impl Passes {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, these) | (these, Self::All) => these,
            (Self::These(a), Self::These(b)) => Self::These(format!("{a} {b}")),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, these) | (these, Self::None) => these,
            (Self::These(a), Self::These(b)) => Self::These(format!("{a} | {b}")),
        }
    }

    /// As one operand.
    pub(super) fn grouped(self) -> Self {
        match self {
            Self::These(text) => Self::These(format!("({text})")),
            other => other,
        }
    }
}

/// A filter that passes at least what it should.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) passes: Passes,
    /// Whether it passes nothing else.
    pub(super) exact: bool,
}

impl Bound {
    pub(super) const UNKNOWN: Self = Self { passes: Passes::All, exact: false };
    pub(super) const NOTHING: Self = Self { passes: Passes::None, exact: true };
    pub(super) const EVERYTHING: Self = Self { passes: Passes::All, exact: true };

    pub(super) fn these(text: String) -> Self {
        Self { passes: Passes::These(text), exact: true }
    }
}
