//! What is remembered of one entity for its features.

use tastemaker_types::{FeatureRow, FeatureValue, Position, Timestamp};

use crate::kernel::{EntityState, Input, Kernel};
use crate::set::{ValueType, View};

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
    pub(crate) fn put(&mut self, position: Position, row: ViewRow) {
        self.touch(position);
        match self.rows.iter_mut().find(|known| known.view == row.view) {
            Some(known) if (known.event_time, known.created) > (row.event_time, row.created) => {}
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
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
