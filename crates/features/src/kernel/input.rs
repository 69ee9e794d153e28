//! What goes into the kernel and what comes out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tastemaker_types::MAX_ID_BYTES;

/// The longest text value and group key, in bytes: those of an id.
pub const MAX_TEXT_BYTES: usize = MAX_ID_BYTES;

/// What one event says to one feature. The caller has evaluated the feature's filter, value and group expressions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Input<'a> {
    /// Which feature: the index of its definition.
    pub feature: u16,
    /// Its value.
    #[serde(borrow)]
    pub value: InputValue<'a>,
    /// Its group; NULL says nothing to a grouped feature, and a feature without groups does not look at it.
    #[serde(borrow)]
    pub group: Option<&'a str>,
    /// What it counts as in a [`Rate`](super::Operation::Rate); others do not look at it. An event that is both is two inputs.
    pub role: Role,
}

/// The value of an [`Input`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum InputValue<'a> {
    /// NULL: nothing, for an operation that needs a value.
    #[default]
    None,
    /// A finite number.
    Number(f64),
    /// A text of at most [`MAX_TEXT_BYTES`].
    Text(&'a str),
}

/// What an event is to a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Role {
    /// Adds to what is divided.
    #[default]
    Numerator,
    /// Adds to what divides.
    Denominator,
}

/// What becomes of an input.
pub(super) enum Admission<'a> {
    Taken(InputValue<'a>),
    /// It says nothing.
    Null,
    /// It is not what the operation needs.
    Refused,
}

impl<'a> InputValue<'a> {
    /// The value as a name; NULL has none.
    pub(super) fn name(self) -> Option<Cow<'a, str>> {
        match self {
            Self::None => None,
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// Makes −0 to 0, so that equal numbers are the same bits in any order of arrival.
    pub(super) fn normalised(self) -> Self {
        if let Self::Number(number) = self { Self::Number(number + 0.0) } else { self }
    }
}
