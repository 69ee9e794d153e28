//! What is remembered of one entity for its features.

use tastemaker_types::{FeatureRow, FeatureValue, Position, Timestamp, Window};

use crate::kernel::{EntityState, Input, Kernel};
use crate::set::{ValueType, View};

/// The features of one entity as of its own last record: a read at the same version and time gives the same values, in any process.
#[derive(Debug, Default)]
pub(crate) struct EntityFeatures {
    /// One past the last record that concerned the entity; 0: none.
    version: u64,
    state: EntityState,
    /// Rows of views; those of one view by event time.
    rows: Vec<ViewRow>,
}

/// Rows of one view whose time has not come that are kept; of more the earliest go, since the latest counts in the end.
const AHEAD: usize = 32;
/// For so long the row before the newest is kept, too: a read that began before the newest was written asks for the time before it.
const READING: Window = Window::from_millis(10_000);

/// A row of a batch feature view.
#[derive(Debug, Clone)]
pub(crate) struct ViewRow {
    /// The number of the view.
    pub(crate) view: u16,
    pub(crate) event_time: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) values: Box<[Option<FeatureValue>]>,
}

impl EntityFeatures {
    /// The last record that concerned the entity.
    pub(crate) fn version(&self) -> Option<Position> {
        self.version.checked_sub(1).map(Position)
    }

    pub(crate) fn state(&self) -> &EntityState {
        &self.state
    }

    pub(crate) fn rows(&self) -> &[ViewRow] {
        &self.rows
    }

    /// As it was remembered elsewhere.
    pub(crate) fn restored(version: Option<Position>, state: EntityState, rows: Vec<ViewRow>) -> Self {
        Self { version: version.map_or(0, |position| position.0 + 1), state, rows }
    }

    /// The newest row of a view at `now`; rows of the future wait until their time has come.
    pub(crate) fn row(&self, view: usize, now: Timestamp) -> Option<&ViewRow> {
        self.rows.iter().rev().find(|row| usize::from(row.view) == view && row.event_time <= now)
    }

    /// Notes that a record changed something else of the entity, such as its attributes.
    pub(crate) fn touch(&mut self, position: Position) {
        self.version = position.0 + 1;
    }

    /// Takes in what an event says; one that was received before its time counts once that has come. Gives how many inputs were refused.
    pub(crate) fn apply(
        &mut self,
        kernel: &Kernel,
        position: Position,
        at: Timestamp,
        received: Option<Timestamp>,
        inputs: &[Input<'_>],
    ) -> usize {
        self.touch(position);
        match received.filter(|received| *received < at) {
            Some(received) => kernel.apply_ahead(&mut self.state, at, received, inputs),
            None => kernel.apply(&mut self.state, at, inputs),
        }
    }

    /// Takes a row of a view in. Of one event time the row counts that was created last, of these the one that came last. Rows may come
    /// late, and more than once.
    pub(crate) fn put(&mut self, position: Position, row: ViewRow) {
        self.touch(position);
        let view = row.view;
        match self.rows.iter_mut().find(|known| known.view == view && known.event_time == row.event_time) {
            Some(known) if known.created > row.created => {}
            Some(known) => *known = row,
            None => {
                let later = |known: &ViewRow| known.view == view && known.event_time > row.event_time;
                let place = self.rows.iter().position(later).unwrap_or(self.rows.len());
                self.rows.insert(place, row);
            }
        }
        self.drop_past(view);
    }

    /// Drops rows of a view that no read will ask for. Nothing is created later than it is there, so the present has reached the time
    /// at which any of them was created.
    fn drop_past(&mut self, view: u16) {
        let of_view = || self.rows.iter().filter(|row| row.view == view);
        let Some(reached) = of_view().map(|row| row.created).max() else { return };
        let ahead = of_view().filter(|row| row.event_time > reached).count();
        let past = of_view().count() - ahead;
        let newest = of_view().nth(past.wrapping_sub(1)).map(|row| row.event_time);
        let kept = if newest.is_some_and(|newest| newest > reached.minus(READING)) { 2 } else { 1 };
        let mut place = 0;
        self.rows.retain(|row| {
            if row.view != view {
                return true;
            }
            place += 1;
            // Of the past the last ones, of the future the last ones.
            if place <= past { place + kept > past } else { place - past + AHEAD > ahead }
        });
    }
}

impl ViewRow {
    /// What a record says to the view of this number.
    pub(crate) fn new(number: usize, view: &View, row: &FeatureRow) -> Option<Self> {
        // A view whose declaration has changed since: what the row says of another type is no value of this one.
        let value = |(name, value_type): (&String, &ValueType)| {
            let (_, value) = row.values.iter().find(|(given, _)| given == name)?;
            value_type.holds(value).then(|| value.clone())
        };
        Some(Self {
            view: u16::try_from(number).ok()?,
            event_time: row.event_timestamp,
            created: row.created.unwrap_or(row.event_timestamp),
            values: view.columns.iter().map(value).collect(),
        })
    }
}
