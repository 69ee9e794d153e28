//! What is remembered for one feature, or for one group of a grouped one, and how each operation writes and reads it.

use serde::{Deserialize, Serialize};
use tastemaker_types::{FeatureValue, Timestamp, Window};

use super::definition::{Feature, Operation};
use super::distinct::Distinct;
use super::input::{InputValue, Role};
use super::latest::Latest;
use super::numbers::{Count, Greatest, Least, Moments, Ratio, Sum, finite};
use super::sessions::{Current, Session, Sessions};
use super::tiles::{Partial, Tiles};
use super::top::{self, Top};

/// The state of one feature or group. Which variant it is depends on the operation alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Accumulator {
    Count(Tiles<Count>),
    Sum(Tiles<Sum>),
    Ratio(Tiles<Ratio>),
    Least(Tiles<Least>),
    Greatest(Tiles<Greatest>),
    Moments(Tiles<Moments>),
    Distinct(Tiles<Distinct>),
    Top(Tiles<Top>),
    Values(Latest<Value>),
    Times(Latest<()>),
    Sessions(Sessions),
}

/// A value that is kept as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Value {
    Number(f64),
    Text(Box<str>),
}

impl Accumulator {
    /// That of no events.
    pub(super) fn new(operation: &Operation) -> Self {
        match operation {
            Operation::Count => Self::Count(Tiles::default()),
            Operation::Sum | Operation::Decayed { .. } => Self::Sum(Tiles::default()),
            Operation::Mean | Operation::Rate { .. } => Self::Ratio(Tiles::default()),
            Operation::Min => Self::Least(Tiles::default()),
            Operation::Max => Self::Greatest(Tiles::default()),
            Operation::Variance => Self::Moments(Tiles::default()),
            Operation::Distinct => Self::Distinct(Tiles::default()),
            Operation::TopK { .. } => Self::Top(Tiles::default()),
            Operation::Last | Operation::LastK { .. } => Self::Values(Latest::default()),
            Operation::TimeSinceLast => Self::Times(Latest::default()),
            Operation::SessionDuration { .. }
            | Operation::SessionEventCount { .. }
            | Operation::SessionItems { .. } => Self::Sessions(Sessions::default()),
        }
    }

    /// Takes one admitted value in.
    pub(super) fn take(&mut self, feature: &Feature, at: Timestamp, value: InputValue<'_>, role: Role) {
        let operation = &feature.definition.operation;
        let tile = || feature.tile(at);
        match (self, value) {
            (Self::Count(tiles), _) => add(tiles, tile(), &Count(1)),
            (Self::Sum(tiles), InputValue::Number(number)) => {
                add(tiles, tile(), &Sum(finite(number * feature.growth(at).unwrap_or(1.0))));
            }
            (Self::Ratio(tiles), InputValue::Number(number)) => {
                let (numerator, denominator) = match (operation, role) {
                    (Operation::Mean, _) => (number, 1.0),
                    (_, Role::Numerator) => (number, 0.0),
                    (_, Role::Denominator) => (0.0, number),
                };
                add(tiles, tile(), &Ratio { numerator, denominator });
            }
            (Self::Least(tiles), InputValue::Number(number)) => add(tiles, tile(), &Least(number)),
            (Self::Greatest(tiles), InputValue::Number(number)) => add(tiles, tile(), &Greatest(number)),
            (Self::Moments(tiles), InputValue::Number(number)) => add(tiles, tile(), &Moments::of(number)),
            (Self::Distinct(tiles), value) => {
                if let Some(distinct) = tiles.at(tile()) {
                    distinct.take(value);
                }
            }
            (Self::Top(tiles), value) => {
                if let (Some(top), Some(name)) = (tiles.at(tile()), value.name()) {
                    top.take(&name, top::capacity(operation.k()));
                }
            }
            (Self::Values(latest), InputValue::Number(number)) => {
                latest.take(at, Value::Number(number), operation.k() as usize);
            }
            (Self::Values(latest), InputValue::Text(text)) => {
                latest.take(at, Value::Text(text.into()), operation.k() as usize);
            }
            (Self::Times(latest), _) => latest.take(at, (), operation.k() as usize),
            (Self::Sessions(sessions), value) => {
                let item = value.name().map(|name| name.into());
                sessions.take(Session::of(at, item), operation.gap(), operation.k() as usize);
            }
            // Not admitted: the value is not a number.
            _ => {}
        }
    }

    /// Takes in what the other has seen of the same feature, as if it was applied later.
    pub(super) fn merge(&mut self, feature: &Feature, other: &Self) {
        let operation = &feature.definition.operation;
        match (self, other) {
            (Self::Count(mine), Self::Count(theirs)) => mine.merge(theirs),
            (Self::Sum(mine), Self::Sum(theirs)) => mine.merge(theirs),
            (Self::Ratio(mine), Self::Ratio(theirs)) => mine.merge(theirs),
            (Self::Least(mine), Self::Least(theirs)) => mine.merge(theirs),
            (Self::Greatest(mine), Self::Greatest(theirs)) => mine.merge(theirs),
            (Self::Moments(mine), Self::Moments(theirs)) => mine.merge(theirs),
            (Self::Distinct(mine), Self::Distinct(theirs)) => mine.merge(theirs),
            (Self::Top(mine), Self::Top(theirs)) => {
                mine.merge(theirs);
                mine.each(|top| top.fit(top::capacity(operation.k())));
            }
            (Self::Values(mine), Self::Values(theirs)) => mine.merge(theirs, operation.k() as usize),
            (Self::Times(mine), Self::Times(theirs)) => mine.merge(theirs, operation.k() as usize),
            (Self::Sessions(mine), Self::Sessions(theirs)) => {
                mine.merge(theirs, operation.gap(), operation.k() as usize);
            }
            // The state of another kernel, which has nothing to say to this one.
            _ => {}
        }
    }

    /// The value at `now`.
    pub(super) fn read(&self, feature: &Feature, now: Timestamp) -> Option<FeatureValue> {
        let operation = &feature.definition.operation;
        let number = match self {
            Self::Count(tiles) => tiles.over(&feature.tiles(now)).0 as f64,
            Self::Sum(tiles) => match feature.growth(now) {
                Some(growth) => decayed(tiles, feature, now) / growth,
                None => tiles.over(&feature.tiles(now)).0,
            },
            Self::Ratio(tiles) => {
                let (prior, prior_mean) = operation.prior();
                tiles.over(&feature.tiles(now)).smoothed(prior, prior_mean)?
            }
            Self::Least(tiles) => tiles.over(&feature.tiles(now)).0,
            Self::Greatest(tiles) => tiles.over(&feature.tiles(now)).0,
            Self::Moments(tiles) => tiles.over(&feature.tiles(now)).variance()?,
            Self::Distinct(tiles) => {
                let mut union = Distinct::default();
                union.absorb(tiles.within(&feature.tiles(now)).iter().map(|(_, distinct)| distinct));
                union.count()
            }
            Self::Top(tiles) => {
                let tops = tiles.within(&feature.tiles(now)).iter().map(|(_, top)| top);
                return Some(FeatureValue::Map(Top::most(tops, operation.k())));
            }
            Self::Values(latest) => {
                let mut values = latest.within(feature.since(now), now).map(|(_, value)| value);
                return match operation {
                    Operation::LastK { k } => {
                        Some(FeatureValue::Texts(values.take(*k as usize).map(Value::text).collect()))
                    }
                    _ => values.next().map(Value::read),
                };
            }
            Self::Times(latest) => {
                let (at, ()) = latest.within(feature.since(now), now).next()?;
                Window::from_micros(now.as_micros().saturating_sub(at.as_micros())).as_seconds()
            }
            Self::Sessions(sessions) => {
                return session(operation, &sessions.current(now, operation.gap()));
            }
        };
        // Extremes of nothing are infinite.
        number.is_finite().then_some(FeatureValue::Number(number))
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }

    fn read(&self) -> FeatureValue {
        match self {
            Self::Number(number) => FeatureValue::Number(*number),
            Self::Text(text) => FeatureValue::Text(text.to_string()),
        }
    }
}

fn add<P: Partial>(tiles: &mut Tiles<P>, tile: i64, partial: &P) {
    if let Some(mine) = tiles.at(tile) {
        mine.merge(partial);
    }
}

/// The sum of values, each decayed to the beginning of the tile of `now`. A tile is two half-lives: its values lose three quarters.
fn decayed(tiles: &Tiles<Sum>, feature: &Feature, now: Timestamp) -> f64 {
    let range = feature.tiles(now);
    let (mut sum, mut reached) = (0.0, *range.start());
    for (tile, Sum(values)) in tiles.within(&range) {
        sum = finite(sum * fading(reached, *tile) + values);
        reached = *tile;
    }
    sum * fading(reached, *range.end())
}

/// What two half-lives leave, as often as there are tiles from one to the other.
fn fading(from: i64, to: i64) -> f64 {
    0.25_f64.powi(i32::try_from(to.saturating_sub(from)).unwrap_or(i32::MAX))
}

/// What a session feature is while the session goes on, and when it is over: zero, or no items.
fn session(operation: &Operation, current: &Current<'_>) -> Option<FeatureValue> {
    let session = match current {
        Current::Never => return None,
        Current::Over => None,
        Current::Now(session) => Some(session),
    };
    Some(match operation {
        Operation::SessionItems { .. } => {
            FeatureValue::Texts(session.into_iter().flat_map(|session| session.items()).map(str::to_owned).collect())
        }
        Operation::SessionEventCount { .. } => {
            FeatureValue::Number(session.map_or(0.0, |session| session.events() as f64))
        }
        _ => FeatureValue::Number(session.map_or(0.0, |session| session.seconds())),
    })
}
