//! What is remembered of one entity for its features.

use tastemaker_types::{FeatureRow, FeatureValue, Position, Timestamp};

use crate::kernel::{EntityState, Input, Kernel};
use crate::set::View;

/// The features of one entity as of its own last record: a read at the same version and time gives the same values, in any process.
#[derive(Debug, Default)]
pub(crate) struct EntityFeatures {
    /// One past the last record that concerned the entity; 0: none.
    version: u64,
    state: EntityState,
    /// The newest row of each view that has one, by view.
    rows: Vec<ViewRow>,
}

/// The newest row of a batch feature view.
#[derive(Debug, Clone)]
pub(crate) struct ViewRow {
    view: u16,
    pub(crate) event_time: Timestamp,
    created: Timestamp,
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

    pub(crate) fn row(&self, view: usize) -> Option<&ViewRow> {
        self.rows.iter().find(|row| usize::from(row.view) == view)
    }

    /// Notes that a record changed something else of the entity, such as its attributes.
    pub(crate) fn touch(&mut self, position: Position) {
        self.version = position.0 + 1;
    }

    /// Takes in what an event says. Gives how many inputs were refused.
    pub(crate) fn apply(&mut self, kernel: &Kernel, position: Position, at: Timestamp, inputs: &[Input<'_>]) -> usize {
        self.touch(position);
        kernel.apply(&mut self.state, at, inputs)
    }

    /// Takes a row of a view in, unless there is a newer one: by event time, then by when it was created, then by its place in the log. Rows
    /// may come late, and more than once.
    pub(crate) fn put(&mut self, position: Position, number: usize, view: &View, row: &FeatureRow) {
        self.touch(position);
        let Ok(number) = u16::try_from(number) else { return };
        let (event_time, created) = (row.event_timestamp, row.created.unwrap_or(row.event_timestamp));
        let known = self.rows.iter_mut().find(|known| known.view == number);
        if known.as_ref().is_some_and(|known| (known.event_time, known.created) > (event_time, created)) {
            return;
        }
        let value = |name: &String| row.values.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        let values = view.columns.keys().map(value).collect();
        let row = ViewRow { view: number, event_time, created, values };
        match known {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }
}
