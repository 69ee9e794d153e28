//! One value of one feature, and why there is none.

use tastemaker_types::{FeatureValue, Timestamp};

use crate::set::Feature;

/// Whether there is a value, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// There is.
    Present,
    /// Something is known, but no value comes of it.
    NullValue,
    /// Nothing was ever known of this entity that the feature could come from.
    NotFound,
    /// What is known is older than the feature's ttl.
    OutsideMaxAge,
}

impl Status {
    /// As feature servers spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

/// One value of one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The value, or the feature's default where there is none.
    pub value: Option<FeatureValue>,
    /// Whether it was there.
    pub status: Status,
    /// The time of what it comes from.
    pub event_time: Option<Timestamp>,
}

impl Cell {
    pub(crate) const NOT_FOUND: Self = Self { value: None, status: Status::NotFound, event_time: None };

    pub(crate) fn new(value: Option<FeatureValue>, event_time: Option<Timestamp>) -> Self {
        let status = if value.is_some() { Status::Present } else { Status::NullValue };
        Self { value, status, event_time }
    }

    /// Expires it if its event time is further back than the ttl; a value of just that age is still good.
    pub(crate) fn aged(mut self, feature: &Feature, now: Timestamp) -> Self {
        let expired = |ttl| self.event_time.is_some_and(|at| at < now.minus(ttl));
        if self.status != Status::NotFound && feature.ttl.is_some_and(expired) {
            (self.value, self.status) = (None, Status::OutsideMaxAge);
        }
        if self.value.is_none() {
            self.value = feature.default.clone();
        }
        self
    }
}

/// Why an expression has no value: an input is too old; or nothing that it reads of an entity was ever known; or no value comes of what is.
pub(crate) fn why_null(features: impl Iterator<Item = Status>, known_attributes: impl Iterator<Item = bool>) -> Status {
    let (mut reads, mut knows) = (false, false);
    for known in known_attributes {
        (reads, knows) = (true, knows || known);
    }
    for status in features {
        if status == Status::OutsideMaxAge {
            return status;
        }
        (reads, knows) = (true, knows || status != Status::NotFound);
    }
    if reads && !knows { Status::NotFound } else { Status::NullValue }
}
