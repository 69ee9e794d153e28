//! How new the rows of a batch feature view are.

use std::sync::atomic::{AtomicI64, Ordering};

use tastemaker_types::Timestamp;

use crate::entity::ViewRow;

/// The newest event times of the rows of a view, in microseconds; `i64::MIN` before the first row.
pub(crate) struct NewestRow {
    /// Of those whose time had come when they were created.
    present: AtomicI64,
    /// Of the others.
    ahead: AtomicI64,
}

impl Default for NewestRow {
    fn default() -> Self {
        Self { present: AtomicI64::new(i64::MIN), ahead: AtomicI64::new(i64::MIN) }
    }
}

impl NewestRow {
    /// Notes a row that was taken in.
    pub(crate) fn note(&self, row: &ViewRow) {
        let newest = if row.event_time > row.created { &self.ahead } else { &self.present };
        newest.fetch_max(row.event_time.as_micros(), Ordering::Relaxed);
    }

    /// The newest event time that has come by `now`; none before the first row.
    pub(crate) fn at(&self, now: Timestamp) -> Option<Timestamp> {
        let newest = [&self.present, &self.ahead].map(|newest| newest.load(Ordering::Relaxed));
        let newest = newest.into_iter().filter(|newest| (i64::MIN + 1..=now.as_micros()).contains(newest)).max();
        newest.map(Timestamp::from_micros)
    }
}
