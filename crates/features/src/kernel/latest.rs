//! The latest values by event time, of which a read takes those in its window that are not later than `now`.

use serde::{Deserialize, Serialize};
use tastemaker_types::Timestamp;

use super::tiles::{ascending, insert_tight};

/// Values kept beyond those that a read gives, so that so many events of a clock that runs ahead hide none of them.
pub(super) const SPARE: usize = 4;

/// Values by time, the latest last; of equal times the later applied is the later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "V: Serialize + serde::de::DeserializeOwned")]
pub(super) struct Latest<V>(#[serde(with = "ascending")] Vec<(i64, V)>);

impl<V> Default for Latest<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Clone> Latest<V> {
    /// Takes one value in for reads of `k`.
    pub(super) fn take(&mut self, at: Timestamp, value: V, k: usize) {
        let at = at.as_micros();
        let index = self.0.partition_point(|(time, _)| *time <= at);
        if self.0.len() < k + SPARE {
            insert_tight(&mut self.0, index, (at, value));
        } else if index > 0 {
            self.0.remove(0);
            self.0.insert(index - 1, (at, value));
        }
    }

    /// Takes the other's values in, as if they were applied later.
    pub(super) fn merge(&mut self, other: &Self, k: usize) {
        for (at, value) in &other.0 {
            self.take(Timestamp::from_micros(*at), value.clone(), k);
        }
    }

    /// The values of `[since, now]`, latest first.
    pub(super) fn within(&self, since: Timestamp, now: Timestamp) -> impl Iterator<Item = (Timestamp, &V)> {
        let range = since..=now;
        let timed = self.0.iter().rev().map(|(at, value)| (Timestamp::from_micros(*at), value));
        timed.filter(move |(at, _)| range.contains(at))
    }
}
