//! The aggregation kernel: streaming features of one entity as a state machine. Defined once, the same code runs live, in a replay of the log,
//! and on state that is kept elsewhere ([`Kernel::encode`]). It is pure: it knows no clock, no files and no expressions.
//!
//! # What a read gives
//!
//! A feature that never took an event in is NULL (`None`). Afterwards, counts and sums of nothing are zero and lists and maps of nothing are
//! empty, while a mean, an extreme, a variance, a last value, a time since, and a rate with nothing to divide by are NULL. A rate with a prior
//! is then its mean. No value is infinite or NaN: inputs that are not finite are refused, and sums saturate at the largest finite number.
//!
//! # Windows
//!
//! Windows are tiles that a read adds up, so values fall with `now` alone. A tile is one *hop* long, a 32nd of the window and at least a
//! second. A read at `now` takes the tiles that overlap `[now − window, now]`: the tile in which the window begins counts whole (the window
//! is up to one hop longer), later tiles wait until `now` reaches them, and in the tile of `now` everything counts. The latest 66 tiles
//! with events are kept: a window and as much again, so that wrong clocks cannot fill memory. Without a window every event counts, whatever
//! its time. Last, LastK and TimeSinceLast know the time of each event instead: their window is `[now − window, now]` exactly, with a window
//! or without one no event after `now` counts, and up to four such events hide none before.
//!
//! # Order
//!
//! Events may come in any order of their times, and states may be merged. Sums, means, rates, variances and decayed sums then differ by
//! rounding, and counts, extremes, distinct counts and the most frequent values (while no tile has more values than it may count) not at
//! all. Of values with equal times the one applied later is the later. The latest 16 sessions are kept: as long as events are not late by
//! more than these, the order does not matter to sessions either; events before them are dropped. Groups beyond the most that may be are
//! forgotten, the one whose latest event is the earliest first; one that comes back begins anew.
//!
//! # Clocks that run ahead
//!
//! An event that is known to come from such a clock ([`Kernel::apply_ahead`]) waits until its time has come, up to 64 of one entity. A read
//! at `now` is then what the events up to `now` come to, whatever came before it; so is a replay that does not know when events came.
//!
//! # Sessions
//!
//! A session is a maximal run of the feature's events with no pause longer than the gap. The current session at `now` is the last that has
//! begun, if its last event is no longer ago than the gap; all of its events count. While none is current the duration and the count are
//! zero and there are no items.

mod accumulator;
mod aggregate;
mod ahead;
mod definition;
mod distinct;
mod input;
mod latest;
mod numbers;
mod sessions;
mod state;
mod tiles;
mod top;

use std::borrow::Cow;

use tastemaker_types::{FeatureValue, Timestamp};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub use aggregate::Aggregate;
pub use definition::{
    Definition, DefinitionError, DefinitionProblem, MAX_DISTINCT_GROUPS, MAX_FEATURES, MAX_GROUPS, MAX_K, Operation,
};
pub use input::{Input, InputValue, MAX_TEXT_BYTES, Role};
use state::Slot;
pub use state::{EntityState, StateError};

use ahead::{OwnedInput, Waiting};
use definition::Feature;
use input::Admission;

/// The features of one kind of entity, checked and ready to run.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    features: Vec<Feature>,
    fingerprint: u64,
}

impl Kernel {
    /// A kernel of these features. Their places in the list are their numbers.
    ///
    /// # Errors
    /// [`DefinitionError`] for the first definition that cannot be.
    pub fn new(definitions: Vec<Definition>) -> Result<Self, DefinitionError> {
        let mut features = Vec::with_capacity(definitions.len());
        let mut hasher = Xxh3::new();
        for (feature, definition) in definitions.into_iter().enumerate() {
            let operation = definition.operation.name();
            let error = |problem| DefinitionError { feature, operation, problem };
            if feature >= MAX_FEATURES {
                return Err(error(DefinitionProblem::TooMany));
            }
            let compiled = Feature::new(definition).map_err(error)?;
            hasher.update(&compiled.identity());
            features.push(compiled);
        }
        Ok(Self { features, fingerprint: hasher.digest() })
    }

    /// How many features there are.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no feature.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// A number that is the same for the same definitions in the same order, in every process.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// As [`Kernel::fingerprint`], of one feature.
    pub fn feature_fingerprint(&self, feature: usize) -> Option<u64> {
        self.features.get(feature).map(|feature| xxh3_64(&feature.identity()))
    }

    /// Takes in what one event says. Gives how many inputs were refused: those for no feature of this kernel, with a value of the wrong kind,
    /// a number that is not finite, or a text longer than [`MAX_TEXT_BYTES`]. NULL is not refused, it says nothing.
    pub fn apply(&self, state: &mut EntityState, at: Timestamp, inputs: &[Input<'_>]) -> usize {
        self.settle(state, at);
        self.take(state, at, inputs)
    }

    /// As [`Kernel::apply`], of an event that came at `received`, before its own time: it counts once that has come.
    pub fn apply_ahead(
        &self,
        state: &mut EntityState,
        at: Timestamp,
        received: Timestamp,
        inputs: &[Input<'_>],
    ) -> usize {
        self.settle(state, received);
        let taken = |input: &&Input<'_>| {
            let feature = self.features.get(usize::from(input.feature));
            matches!(feature.map(|feature| feature.admit(input)), Some(Admission::Taken(_)))
        };
        let refuses = |input: &&Input<'_>| {
            let feature = self.features.get(usize::from(input.feature));
            matches!(feature.map(|feature| feature.admit(input)), Some(Admission::Refused) | None)
        };
        let waiting: Waiting = inputs.iter().filter(taken).map(OwnedInput::from).collect();
        if !waiting.is_empty() {
            self.wait(state, at, waiting);
        }
        inputs.iter().filter(refuses).count()
    }

    fn wait(&self, state: &mut EntityState, at: Timestamp, waiting: Waiting) {
        if let Some((at, waiting)) = state.ahead.get_or_insert_default().wait(at, waiting) {
            self.take_waiting(state, at, &waiting);
        }
    }

    /// Takes in what has waited until `now`.
    fn settle(&self, state: &mut EntityState, now: Timestamp) {
        let Some(ahead) = &mut state.ahead else { return };
        let due = ahead.due(now);
        if ahead.first().is_none() {
            state.ahead = None;
        }
        due.iter().for_each(|(at, waiting)| self.take_waiting(state, *at, waiting));
    }

    fn take_waiting(&self, state: &mut EntityState, at: Timestamp, waiting: &[OwnedInput]) {
        let inputs: Vec<Input<'_>> = waiting.iter().map(OwnedInput::input).collect();
        self.take(state, at, &inputs);
    }

    /// What a feature took in until `now`, with what has waited until then.
    fn slot_at<'s>(&self, state: &'s EntityState, feature: usize, now: Timestamp) -> Option<Cow<'s, Slot>> {
        let stored = state.get(feature);
        let due = state.ahead.iter().flat_map(|ahead| ahead.until(now));
        let due = due.flat_map(|(at, inputs)| inputs.iter().map(move |input| (at, input.input())));
        let mut due = due.filter(|(_, input)| usize::from(input.feature) == feature).peekable();
        if due.peek().is_none() {
            return stored.map(Cow::Borrowed);
        }
        let mut alone = EntityState { slots: stored.cloned().into_iter().collect(), ahead: None };
        for (at, input) in due {
            self.take(&mut alone, at, &[input]);
        }
        alone.slots.pop().map(Cow::Owned)
    }

    fn take(&self, state: &mut EntityState, at: Timestamp, inputs: &[Input<'_>]) -> usize {
        let mut refused = 0;
        for input in inputs {
            let feature = self.features.get(usize::from(input.feature));
            match feature.map(|feature| (feature, feature.admit(input))) {
                Some((feature, Admission::Taken(value))) => {
                    if let Some(slot) = state.slot(input.feature, feature) {
                        slot.take(feature, at, value, input.group, input.role);
                    }
                }
                Some((_, Admission::Null)) => {}
                Some((_, Admission::Refused)) | None => refused += 1,
            }
        }
        refused
    }

    /// The value of one feature at `now`; `None` is NULL.
    pub fn read(&self, state: &EntityState, feature: usize, now: Timestamp) -> Option<FeatureValue> {
        self.read_with_time(state, feature, now)?.1
    }

    /// The time of the latest event that a feature has taken in at `now`, and its value; nothing if it has taken in none.
    pub fn read_with_time(
        &self,
        state: &EntityState,
        feature: usize,
        now: Timestamp,
    ) -> Option<(Timestamp, Option<FeatureValue>)> {
        let slot = self.slot_at(state, feature, now)?;
        Some((slot.latest(), slot.read(self.features.get(feature)?, now)))
    }

    /// The values of all features at `now`, by number, into a buffer that is reused.
    pub fn read_all(&self, state: &EntityState, now: Timestamp, values: &mut Vec<Option<FeatureValue>>) {
        values.clear();
        if state.ahead.as_ref().and_then(|ahead| ahead.first()).is_some_and(|first| first <= now) {
            values.extend((0..self.features.len()).map(|feature| self.read(state, feature, now)));
            return;
        }
        values.resize(self.features.len(), None);
        for slot in &state.slots {
            let feature = usize::from(slot.feature());
            if let (Some(value), Some(feature)) = (values.get_mut(feature), self.features.get(feature)) {
                *value = slot.read(feature, now);
            }
        }
    }

    /// The value of one group of a grouped feature at `now`, without those of the others.
    pub fn read_group(&self, state: &EntityState, feature: usize, group: &str, now: Timestamp) -> Option<f64> {
        self.slot_at(state, feature, now)?.read_group(self.features.get(feature)?, group, now)
    }

    /// The time of the latest event that this feature has taken in at `now`.
    pub fn event_time(&self, state: &EntityState, feature: usize, now: Timestamp) -> Option<Timestamp> {
        self.slot_at(state, feature, now).map(|slot| slot.latest())
    }

    /// Adds what `other` has seen to `into`, as if it was applied later. Both must be states of this kernel.
    pub fn merge(&self, into: &mut EntityState, other: &EntityState) {
        for theirs in &other.slots {
            if let Some(feature) = self.features.get(usize::from(theirs.feature()))
                && let Some(mine) = into.slot(theirs.feature(), feature)
            {
                mine.merge(feature, theirs);
            }
        }
        for (at, waiting) in other.ahead.iter().flat_map(|ahead| ahead.each()) {
            self.wait(into, at, waiting.clone());
        }
    }

    /// The state as bytes, with the kernel's fingerprint.
    pub fn encode(&self, state: &EntityState) -> Vec<u8> {
        state.encode(self.fingerprint)
    }

    /// The state that [`Kernel::encode`] has written.
    ///
    /// # Errors
    /// [`StateError`] if it was written in another format or under other definitions, or is damaged.
    pub fn decode(&self, bytes: &[u8]) -> Result<EntityState, StateError> {
        EntityState::decode(bytes, self.fingerprint)
    }
}
