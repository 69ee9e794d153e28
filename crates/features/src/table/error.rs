//! Why a table cannot be read, joined or written.

use std::io;
use std::path::{Path, PathBuf};

use arrow_schema::ArrowError;

/// What went wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The path leads to no Parquet file.
    #[error(
        "no Parquet file at '{path}'; give a file, a folder that holds .parquet files, or a pattern such as 'data/*.parquet'"
    )]
    NoFiles {
        /// What was given.
        path: String,
    },
    /// The pattern cannot be read.
    #[error("'{path}' is no valid pattern: {reason}; '*' stands for part of a name, '**' for any folders")]
    Pattern {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More files than one table may have.
    #[error("'{path}' has more than {max} files; rewrite it into fewer, larger ones")]
    TooManyFiles {
        /// What was given.
        path: String,
        /// The most files of a table.
        max: usize,
    },
    /// A file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name says, or is damaged.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file was written to while it was read.
    #[error("{} changed while it was read; write a table to new files and rename them into place, then run this again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file, or whatever else rows come from, lacks a column.
    #[error("{rows} has no column '{column}' for {what}{hint}")]
    MissingColumn {
        /// The file, or what else it is.
        rows: String,
        /// The column that was named.
        column: String,
        /// What it would hold.
        what: String,
        /// The nearest or all columns of the file.
        hint: String,
    },
    /// A column holds something else than was declared.
    #[error("{rows}: column '{column}' for {what} holds {found}; {remedy}")]
    ColumnType {
        /// The file, or what else it is.
        rows: String,
        /// The column.
        column: String,
        /// What it would hold.
        what: String,
        /// What it holds.
        found: String,
        /// What to write.
        remedy: String,
    },
    /// A declaration has no key, or too many.
    #[error("a table has one key column, or two for a pair of entities; {found} were given")]
    KeyColumns {
        /// How many.
        found: usize,
    },
    /// The rows of a join are not of the table's entities.
    #[error("the rows have {found} key column(s), but the table has {expected}: {names}")]
    KeyCount {
        /// Of the rows.
        found: usize,
        /// Of the table.
        expected: usize,
        /// The table's keys.
        names: String,
    },
    /// Key and time columns differ in length, or a time is missing.
    #[error("the rows of a join need as many keys as times, and a time in every row: {reason}")]
    JoinRows {
        /// What is wrong.
        reason: String,
    },
    /// A join of too many rows at once.
    #[error("{rows} rows are too many for one join; give at most {max} at a time")]
    TooManyRows {
        /// How many.
        rows: usize,
        /// The most.
        max: usize,
    },
    /// The entity rows have no time, or no entity.
    #[error("{} has no column {wanted}; its columns are: {columns}", path.display())]
    RowColumn {
        /// The file.
        path: PathBuf,
        /// What would do.
        wanted: String,
        /// What there is.
        columns: String,
    },
    /// One entity row cannot be used.
    #[error("{}, row {row}, column '{column}': {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1, not counting a header.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The name of a file does not say how to read or write it.
    #[error("cannot tell the format of {} by its name; use {known}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The extensions that are known.
        known: &'static str,
    },
    /// A column would be written twice.
    #[error("{} would have two columns '{column}'; rename the feature or the column of the rows", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A file cannot be written. What was there before is untouched.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A chunk that the partitioning does not have.
    #[error("there is no chunk {chunk} of {chunks}; they are numbered from 0")]
    Chunk {
        /// What was asked for.
        chunk: u32,
        /// How many there are.
        chunks: u32,
    },
    /// Values could not be gathered, such as more text in one batch than Arrow can address.
    #[error("could not gather feature values: {0}; take fewer rows at a time")]
    Gather(#[from] ArrowError),
}

impl TableError {
    pub(super) fn open(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Open { path: path.to_owned(), source }
    }

    pub(super) fn unreadable(path: &Path, reason: impl ToString) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn write(path: &Path, reason: impl ToString) -> Self {
        Self::Write { path: path.to_owned(), reason: reason.to_string() }
    }
}
