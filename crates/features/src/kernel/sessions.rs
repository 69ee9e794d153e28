//! Sessions: maximal runs of events with no pause longer than the gap.
//!
//! The latest [`KEPT_SESSIONS`] are kept, so that an event which comes late finds its session, joins two into one, or makes one of its own, and
//! so that a clock that runs ahead does not hide the session of the present.

use serde::{Deserialize, Serialize};
use tastemaker_types::{Timestamp, Window};

use super::tiles::{ascending, insert_tight};

/// Sessions kept of one entity; the earliest go.
const KEPT_SESSIONS: usize = 16;

/// The latest sessions, in order. Any two are further than the gap from each other.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Sessions(Vec<Session>);

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    first: i64,
    last: i64,
    events: u64,
    /// Distinct values by the time they were met last, if the operation asks for them.
    #[serde(with = "ascending")]
    items: Vec<(i64, Box<str>)>,
}

/// Where the current session stands at some time.
#[derive(Debug, PartialEq)]
pub(super) enum Current<'a> {
    /// None has begun yet.
    Never,
    /// The last one is over.
    Over,
    /// It goes on.
    Now(&'a Session),
}

impl Session {
    /// A session of one event.
    pub(super) fn of(at: Timestamp, item: Option<Box<str>>) -> Self {
        let at = at.as_micros();
        Self { first: at, last: at, events: 1, items: item.map(|item| (at, item)).into_iter().collect() }
    }

    /// From the first to the last event, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        Window::from_micros(self.last.saturating_sub(self.first)).as_seconds()
    }

    /// How many events.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Distinct values, the one met latest first.
    pub(super) fn items(&self) -> impl Iterator<Item = &str> {
        self.items.iter().rev().map(|(_, item)| &**item)
    }

    fn absorb(&mut self, other: Self, k: usize) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.events = self.events.saturating_add(other.events);
        for (at, item) in other.items {
            match self.items.iter().position(|(_, mine)| *mine == item) {
                Some(index) if self.items.get(index).is_some_and(|(mine, _)| *mine > at) => continue,
                Some(index) => drop(self.items.remove(index)),
                None => {}
            }
            let index = self.items.partition_point(|(mine, _)| *mine <= at);
            insert_tight(&mut self.items, index, (at, item));
            if self.items.len() > k {
                self.items.remove(0);
            }
        }
    }
}

impl Sessions {
    /// Takes a session in: joins it with those that are no further than the gap from it.
    pub(super) fn take(&mut self, session: Session, gap: Window, k: usize) {
        let gap = gap.as_micros();
        let from = self.0.partition_point(|mine| mine.last.saturating_add(gap) < session.first);
        let to = self.0.partition_point(|mine| mine.first <= session.last.saturating_add(gap));
        if from < to {
            let mut near = self.0.drain(from..to);
            if let Some(mut joined) = near.next() {
                near.for_each(|next| joined.absorb(next, k));
                joined.absorb(session, k);
                self.0.insert(from, joined);
            }
            return;
        }
        insert_tight(&mut self.0, from, session);
        if self.0.len() > KEPT_SESSIONS {
            self.0.remove(0);
        }
    }

    /// Takes the other's sessions in.
    pub(super) fn merge(&mut self, other: &Self, gap: Window, k: usize) {
        for session in &other.0 {
            self.take(session.clone(), gap, k);
        }
    }

    /// The session at `now`: the last that has begun, if its last event is no longer ago than the gap.
    pub(super) fn current(&self, now: Timestamp, gap: Window) -> Current<'_> {
        let begun = self.0.partition_point(|session| session.first <= now.as_micros());
        match begun.checked_sub(1).and_then(|index| self.0.get(index)) {
            None => Current::Never,
            Some(session) if now.as_micros().saturating_sub(session.last) <= gap.as_micros() => Current::Now(session),
            Some(_) => Current::Over,
        }
    }
}
