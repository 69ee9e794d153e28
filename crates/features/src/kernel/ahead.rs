//! Events of clocks that run ahead. They wait beside the state until the present has reached them, so that what is read at any time is what
//! the events up to that time come to.

use serde::{Deserialize, Serialize};
use tastemaker_types::Timestamp;

use super::input::{Input, InputValue, Role};
use super::tiles::{ascending, insert_tight};

/// Events of one entity that may wait; of more the earliest counts before its time.
const WAITING: usize = 64;

/// What waits, by time; of equal times in the order of arrival.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ahead(#[serde(with = "ascending")] Vec<(i64, Waiting)>);

/// What one event says.
pub(super) type Waiting = Box<[OwnedInput]>;

/// An [`Input`] that outlives its event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OwnedInput {
    feature: u16,
    value: OwnedValue,
    group: Option<Box<str>>,
    role: Role,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OwnedValue {
    None,
    Number(f64),
    Text(Box<str>),
}

impl Ahead {
    /// When the first of them counts.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| Timestamp::from_micros(*at))
    }

    /// Lets an event wait. Gives the one that has to go for it.
    pub(super) fn wait(&mut self, at: Timestamp, inputs: Waiting) -> Option<(Timestamp, Waiting)> {
        let at = at.as_micros();
        let place = self.0.partition_point(|(time, _)| *time <= at);
        insert_tight(&mut self.0, place, (at, inputs));
        (self.0.len() > WAITING).then(|| self.0.remove(0)).map(|(at, inputs)| (Timestamp::from_micros(at), inputs))
    }

    /// Takes out what counts at `now`, in order.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(Timestamp, Waiting)> {
        let due = self.0.partition_point(|(at, _)| *at <= now.as_micros());
        self.0.drain(..due).map(|(at, inputs)| (Timestamp::from_micros(at), inputs)).collect()
    }

    /// What counts at `now`, in order.
    pub(super) fn until(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, &Waiting)> {
        self.each().take_while(move |(at, _)| *at <= now)
    }

    /// All of them.
    pub(super) fn each(&self) -> impl Iterator<Item = (Timestamp, &Waiting)> {
        self.0.iter().map(|(at, inputs)| (Timestamp::from_micros(*at), inputs))
    }
}

impl From<&Input<'_>> for OwnedInput {
    fn from(input: &Input<'_>) -> Self {
        let value = match input.value {
            InputValue::None => OwnedValue::None,
            InputValue::Number(number) => OwnedValue::Number(number),
            InputValue::Text(text) => OwnedValue::Text(text.into()),
        };
        Self { feature: input.feature, value, group: input.group.map(Into::into), role: input.role }
    }
}

impl OwnedInput {
    pub(super) fn input(&self) -> Input<'_> {
        let value = match &self.value {
            OwnedValue::None => InputValue::None,
            OwnedValue::Number(number) => InputValue::Number(*number),
            OwnedValue::Text(text) => InputValue::Text(text),
        };
        Input { feature: self.feature, value, group: self.group.as_deref(), role: self.role }
    }
}
