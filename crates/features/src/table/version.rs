//! Which of an entity's rows counts.

/// When one row of a table was true and known, and where it is. The order of this type is the order of rows of one entity: the later event
/// wins, among equals the one that was created later, then the later one in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    /// Microseconds since 1970, UTC.
    pub event: i64,
    /// Microseconds since 1970, UTC; that of the event if the table does not say.
    pub created: i64,
    /// The row's number in the table, from 0, over all files.
    pub row: u64,
}

impl Version {
    /// The first instant at which somebody could have known this row.
    pub(super) fn known(&self) -> i64 {
        self.event.max(self.created)
    }
}
