//! What a database tells beside the items themselves: pages of changes, notices, and what its table is like.

use tastemaker_types::Timestamp;

use crate::origin::Known;

/// The place to go on at: from a time on, or after one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The time of the last change.
    pub updated: Timestamp,
    /// The id of the row, if all rows up to it, with this time, have been read.
    pub id: Option<String>,
}

/// Rows in the order of their last change.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Ids and what is known of them.
    pub rows: Vec<(String, Known)>,
    /// The clock of the database.
    pub clock: Timestamp,
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
}

/// What was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// This item changed.
    Item(String),
    /// Something changed.
    Anything,
    /// The connection was lost, and with it perhaps notices: look at everything. The next call listens again.
    Lost,
}

/// What there is to know of the table, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The table, quoted.
    pub table: String,
    /// How many columns are read.
    pub columns: usize,
    /// Whether an index begins with the column of the last change. Views say yes.
    pub updated_is_indexed: bool,
    /// The same of the id.
    pub id_is_indexed: bool,
}
