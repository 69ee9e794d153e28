//! What a streaming feature computes, as its owner states it, and what may be stated.

use tastemaker_types::{Timestamp, Window};

use super::input::{Admission, Input, InputValue, MAX_TEXT_BYTES};
use crate::tiling::{SECOND, TILES, Tiling};

/// The most features that one kernel may have.
pub const MAX_FEATURES: usize = 4_096;
/// The largest `k` of [`Operation::LastK`], [`Operation::TopK`] and [`Operation::SessionItems`].
pub const MAX_K: u32 = 100;
/// The most groups that one feature of one entity may have; for [`Operation::Distinct`], [`MAX_DISTINCT_GROUPS`].
pub const MAX_GROUPS: u32 = 1_024;
/// The most groups of [`Operation::Distinct`], whose groups can be a hundred kilobytes each.
pub const MAX_DISTINCT_GROUPS: u32 = 64;
/// The longest window, gap and half-life, in days.
const LONGEST_DAYS: i64 = 36_500;

/// What one streaming feature computes of the events of one entity. The module's page says how windows, groups and NULL work.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// How many events; their values do not matter.
    Count,
    /// The sum of the values.
    Sum,
    /// The arithmetic mean of the values.
    Mean,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The population variance of the values: the mean of their squared distances from their mean.
    Variance,
    /// The latest value, by event time.
    Last,
    /// The latest values, latest first, by event time; equal values are not merged.
    LastK {
        /// How many at most: 1 to [`MAX_K`].
        k: u32,
    },
    /// How many distinct values: exactly up to 512 in the window, beyond that as HyperLogLog estimates it, with a
    /// standard error of 2.3 %.
    Distinct,
    /// The most frequent values and their counts. Of one tile, `4·k` values are counted (never fewer than 64). When more come, the rarest of
    /// them gives its place and its count to the new one (Space-Saving, Metwally et al. 2005): every value that makes more than one in
    /// that many of a tile's events is kept, and a count is too high by at most that share of the events.
    TopK {
        /// How many at most: 1 to [`MAX_K`].
        k: u32,
    },
    /// The smoothed rate `(a + prior·prior_mean) / (b + prior)`: `a` adds the numerator events, `b` the denominator events (see
    /// [`Role`](super::Role)). An event without a value adds one, else its value.
    Rate {
        /// How many denominator events the prior is worth: 0 for none.
        prior: f64,
        /// The rate before anything is known.
        prior_mean: f64,
    },
    /// Seconds since the latest event.
    TimeSinceLast,
    /// Seconds from the first to the last event of the current session.
    SessionDuration {
        /// The longest pause within a session.
        gap: Window,
    },
    /// How many events the current session has.
    SessionEventCount {
        /// The longest pause within a session.
        gap: Window,
    },
    /// The distinct values of the current session, the one met latest first.
    SessionItems {
        /// The longest pause within a session.
        gap: Window,
        /// How many at most: 1 to [`MAX_K`].
        k: u32,
    },
    /// The sum of `value · 2^(−age / half_life)`. Its tiles are two half-lives long and after 64 half-lives a value is forgotten. An event
    /// that is later than `now`, but in its tile, weighs more than its value: up to four times.
    Decayed {
        /// At least a second.
        half_life: Window,
    },
}

/// One streaming feature of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// What it computes.
    pub operation: Operation,
    /// Over which time; `None`: since ever. At least a second. Sessions and [`Operation::Decayed`] have their own time and take none.
    pub window: Option<Window>,
    /// One value per group (of the events' group key), for as many groups at most; `None`: one value of all events.
    pub groups: Option<u32>,
    /// The caller's own account of how an event becomes an input: the event types and the filter, value and group expressions. The
    /// kernel only makes it part of the fingerprint, so that state which another filter has filled is refused.
    pub inputs: String,
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("feature {feature} ({operation}): {problem}")]
pub struct DefinitionError {
    /// Its place in the list, from 0.
    pub feature: usize,
    /// The name of its operation.
    pub operation: &'static str,
    /// What is wrong with it.
    pub problem: DefinitionProblem,
}

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DefinitionProblem {
    /// `k` is zero or too great.
    #[error("k is {0}; give 1 to {MAX_K}")]
    K(u32),
    /// Too short or too long.
    #[error("{name} is {}µs; give at least {}µs and at most {LONGEST_DAYS}d", given.as_micros(), least.as_micros())]
    Length {
        /// Window, gap or half-life.
        name: &'static str,
        /// What was given.
        given: Window,
        /// The shortest possible.
        least: Window,
    },
    /// A window where there can be none.
    #[error("it takes no window, its time is that of its session or half-life; leave the window out")]
    Window,
    /// A prior that is negative or not finite.
    #[error("the prior is {prior} with mean {prior_mean}; give finite numbers, the prior not negative")]
    Prior {
        /// The prior's strength.
        prior: f64,
        /// The prior's mean.
        prior_mean: f64,
    },
    /// The value of a group is one number.
    #[error("it has no value that is one number, so it cannot be grouped; leave the group out")]
    NotGrouped,
    /// No group or too many.
    #[error("{given} groups; give 1 to {most}")]
    Groups {
        /// What was given.
        given: u32,
        /// The most of this operation.
        most: u32,
    },
    /// Too many features.
    #[error("more than {MAX_FEATURES} features of one kind of entity; define fewer")]
    TooMany,
}

/// A definition that was checked, and its tiles.
#[derive(Debug, Clone)]
pub(super) struct Feature {
    pub(super) definition: Definition,
    pub(super) tiling: Option<Tiling>,
}

impl Operation {
    /// The operation's name, as in a project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Variance => "variance",
            Self::Last => "last",
            Self::LastK { .. } => "last_k",
            Self::Distinct => "distinct",
            Self::TopK { .. } => "top_k",
            Self::Rate { .. } => "rate",
            Self::TimeSinceLast => "time_since_last",
            Self::SessionDuration { .. } => "session_duration",
            Self::SessionEventCount { .. } => "session_event_count",
            Self::SessionItems { .. } => "session_items",
            Self::Decayed { .. } => "decayed",
        }
    }

    /// The parameters as bits, for the fingerprint.
    fn parameters(&self) -> [u64; 2] {
        let micros = |window: &Window| window.as_micros().cast_unsigned();
        match self {
            Self::LastK { k } | Self::TopK { k } => [u64::from(*k), 0],
            Self::Rate { prior, prior_mean } => [prior.to_bits(), prior_mean.to_bits()],
            Self::SessionDuration { gap } | Self::SessionEventCount { gap } => [micros(gap), 0],
            Self::SessionItems { gap, k } => [micros(gap), u64::from(*k)],
            Self::Decayed { half_life } => [micros(half_life), 0],
            _ => [0, 0],
        }
    }

    /// How many values a list has; the one value of the rest is a list of one.
    pub(super) fn k(&self) -> u32 {
        match self {
            Self::LastK { k } | Self::TopK { k } | Self::SessionItems { k, .. } => *k,
            _ => 1,
        }
    }

    /// The longest pause within a session, for operations that have sessions.
    pub(super) fn gap(&self) -> Window {
        match self {
            Self::SessionDuration { gap } | Self::SessionEventCount { gap } | Self::SessionItems { gap, .. } => *gap,
            _ => Window::default(),
        }
    }

    /// Strength and mean of the prior; a mean is a rate without one.
    pub(super) fn prior(&self) -> (f64, f64) {
        match self {
            Self::Rate { prior, prior_mean } => (*prior, *prior_mean),
            _ => (0.0, 0.0),
        }
    }

    fn check(&self) -> Result<(), DefinitionProblem> {
        match *self {
            Self::LastK { k } | Self::TopK { k } => k_in_range(k),
            Self::SessionDuration { gap } | Self::SessionEventCount { gap } => length_in_range("the gap", gap, 1),
            Self::SessionItems { gap, k } => k_in_range(k).and(length_in_range("the gap", gap, 1)),
            Self::Decayed { half_life } => length_in_range("the half-life", half_life, SECOND),
            Self::Rate { prior, prior_mean } if !(prior >= 0.0 && (prior * prior_mean).is_finite()) => {
                Err(DefinitionProblem::Prior { prior, prior_mean })
            }
            _ => Ok(()),
        }
    }
}

impl Feature {
    pub(super) fn new(definition: Definition) -> Result<Self, DefinitionProblem> {
        definition.operation.check()?;
        let tiling = match (&definition.operation, definition.window) {
            (Operation::Decayed { half_life }, None) => {
                // The hop is a 32nd of the window: two half-lives.
                Some(Tiling::new(Window::from_micros(2 * TILES * half_life.as_micros())))
            }
            (
                Operation::SessionDuration { .. }
                | Operation::SessionEventCount { .. }
                | Operation::SessionItems { .. }
                | Operation::Decayed { .. },
                Some(_),
            ) => return Err(DefinitionProblem::Window),
            (_, Some(window)) => {
                length_in_range("the window", window, SECOND)?;
                Some(Tiling::new(window))
            }
            (_, None) => None,
        };
        if let Some(given) = definition.groups {
            let most = match definition.operation {
                Operation::LastK { .. } | Operation::TopK { .. } | Operation::SessionItems { .. } => {
                    return Err(DefinitionProblem::NotGrouped);
                }
                Operation::Distinct => MAX_DISTINCT_GROUPS,
                _ => MAX_GROUPS,
            };
            if !(1..=most).contains(&given) {
                return Err(DefinitionProblem::Groups { given, most });
            }
        }
        Ok(Self { definition, tiling })
    }

    /// The tile of this instant; without a window there is one tile, 0.
    pub(super) fn tile(&self, at: Timestamp) -> i64 {
        self.tiling.map_or(0, |tiling| tiling.tile(at))
    }

    /// The tiles that a read at `now` takes.
    pub(super) fn tiles(&self, now: Timestamp) -> std::ops::RangeInclusive<i64> {
        self.tiling.map_or(0..=0, |tiling| tiling.window(now))
    }

    /// When the window of a read at `now` begins, for operations that know the time of each event.
    pub(super) fn since(&self, now: Timestamp) -> Timestamp {
        self.definition.window.map_or(Timestamp::from_micros(i64::MIN), |window| now.minus(window))
    }

    /// 2^(t / half-life), `t` being the time since the tile began, for operations that decay.
    pub(super) fn growth(&self, at: Timestamp) -> Option<f64> {
        match (&self.definition.operation, self.tiling) {
            (Operation::Decayed { half_life }, Some(tiling)) => {
                Some((tiling.offset(at) as f64 / half_life.as_micros() as f64).exp2())
            }
            _ => None,
        }
    }

    /// Whether the feature takes this input in, and as which value.
    pub(super) fn admit<'a>(&self, input: &Input<'a>) -> Admission<'a> {
        use Operation as O;
        let value = input.value.normalised();
        match (self.definition.groups, input.group) {
            (Some(_), None) => return Admission::Null,
            (Some(_), Some(group)) if group.len() > MAX_TEXT_BYTES => return Admission::Refused,
            _ => {}
        }
        match (&self.definition.operation, value) {
            (O::Count | O::TimeSinceLast | O::SessionDuration { .. } | O::SessionEventCount { .. }, _) => {
                Admission::Taken(InputValue::None)
            }
            (O::Rate { .. }, InputValue::None) => Admission::Taken(InputValue::Number(1.0)),
            (_, InputValue::None) => Admission::Null,
            (_, InputValue::Text(text)) if text.len() > MAX_TEXT_BYTES => Admission::Refused,
            (_, InputValue::Number(number)) if !number.is_finite() => Admission::Refused,
            (_, InputValue::Number(_)) => Admission::Taken(value),
            (O::Last, InputValue::Text(_)) if self.definition.groups.is_none() => Admission::Taken(value),
            (O::LastK { .. } | O::Distinct | O::TopK { .. } | O::SessionItems { .. }, InputValue::Text(_)) => {
                Admission::Taken(value)
            }
            (_, InputValue::Text(_)) => Admission::Refused,
        }
    }

    /// Everything that the meaning of stored state depends on, as bytes for the fingerprint.
    pub(super) fn identity(&self) -> Vec<u8> {
        let Definition { operation, window, groups, inputs } = &self.definition;
        let window = window.map_or(-1, Window::as_micros);
        let groups = groups.map_or(-1, i64::from);
        let mut bytes = Vec::new();
        for text in [operation.name(), inputs] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(operation.parameters().into_iter().flat_map(u64::to_le_bytes));
        bytes.extend([window, groups].into_iter().flat_map(i64::to_le_bytes));
        bytes
    }
}

fn k_in_range(k: u32) -> Result<(), DefinitionProblem> {
    if (1..=MAX_K).contains(&k) { Ok(()) } else { Err(DefinitionProblem::K(k)) }
}

fn length_in_range(name: &'static str, given: Window, least_micros: i64) -> Result<(), DefinitionProblem> {
    let least = Window::from_micros(least_micros);
    if (least..=Window::from_days(LONGEST_DAYS)).contains(&given) {
        Ok(())
    } else {
        Err(DefinitionProblem::Length { name, given, least })
    }
}
