//! The one error type of this crate. A variant names the user, item, row or setting at fault and what to do
//! about it; callers can match on it to tell bad data from bad settings from a bad file.

/// Which entity a row of a factor matrix stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A row of the user factors.
    User,
    /// A row of the item factors.
    Item,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::User => "user",
            Side::Item => "item",
        })
    }
}

/// Everything that can go wrong between interactions and factors.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Nothing to learn from.
    #[error("there are no interactions to learn from ({users} users, {items} items); import positive events first")]
    Empty {
        /// Number of users given.
        users: usize,
        /// Number of items given.
        items: usize,
    },
    /// A setting is outside its range.
    #[error("{name} = {value} cannot be used; it must be {expected}")]
    Setting {
        /// The setting, as its field is named.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The accepted range.
        expected: &'static str,
    },
    /// An interaction or a history refers to a row that does not exist.
    #[error("{side} {index} does not exist; there are {len} (0 to {len} - 1)")]
    OutOfRange {
        /// Users or items.
        side: Side,
        /// The index that was given.
        index: u32,
        /// Number of rows on that side.
        len: usize,
    },
    /// A weight is NaN, infinite, zero or negative.
    #[error("weight {weight} of item {item} (user {}) cannot be used; weights are finite and above zero", user.map_or("unknown".to_owned(), |u| u.to_string()))]
    Weight {
        /// The user's row, where there is one (a request-time history has none).
        user: Option<u32>,
        /// The item's row.
        item: u32,
        /// The offending weight.
        weight: f32,
    },
    /// The normal equations of one row have no unique solution in f32.
    #[error(
        "the normal equations of {side} {row} are singular at component {component} (regularization {regularization}); raise `regularization` or lower `rank`"
    )]
    Singular {
        /// Users or items.
        side: Side,
        /// The row being solved.
        row: usize,
        /// The component (of the Gram eigenbasis) or pivot that broke down.
        component: usize,
        /// The row's regularisation λ·(n + α₀N)^ν.
        regularization: f32,
    },
    /// A decomposition did not converge.
    #[error("the eigendecomposition of the {side} Gram matrix did not converge; check the weights for extreme values")]
    Eigen {
        /// Whose Gram matrix.
        side: Side,
    },
    /// A value that must be finite is not.
    #[error("{what} holds a value that is not finite at row {row}")]
    NotFinite {
        /// The matrix or vector.
        what: &'static str,
        /// The first offending row.
        row: usize,
    },
    /// Two things that must agree in shape do not.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// What was compared.
        what: &'static str,
        /// The expected size.
        expected: usize,
        /// The size found.
        found: usize,
    },
    /// Bytes that are not what they should be.
    #[error("not a usable {what}: {reason}")]
    Format {
        /// The kind of file.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The worker threads could not be started.
    #[error("could not start {threads} worker threads: {reason}")]
    Threads {
        /// Number asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
}

/// Checks a float setting against a condition, for the settings structs of the factorisers.
pub(crate) fn check_setting(
    name: &'static str,
    value: impl std::fmt::Display,
    ok: bool,
    expected: &'static str,
) -> Result<(), ModelError> {
    if ok { Ok(()) } else { Err(ModelError::Setting { name, value: value.to_string(), expected }) }
}
