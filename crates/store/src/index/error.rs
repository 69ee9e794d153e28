//! What can go wrong with a vector index: a caller's mistake, a file that is not what it should be, or the system out of resources.

use std::{io, path::PathBuf};

/// An operation on a vector index failed; the index is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A vector or query has the wrong number of components.
    #[error("{what} has {found} components; this index holds vectors of {expected}")]
    Dimension {
        /// What was given.
        what: &'static str,
        /// The index's dimension.
        expected: usize,
        /// The given one.
        found: usize,
    },
    /// A component is NaN, infinite, or so large that an inner product could overflow.
    #[error("component {component} of {what} is {value}; components must be finite and at most 1e15 in magnitude")]
    Component {
        /// What was given.
        what: &'static str,
        /// Which component.
        component: usize,
        /// Its value.
        value: f32,
    },
    /// A parameter is outside of its range.
    #[error("{name} is {value}; it must be between {min} and {max}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least allowed.
        min: usize,
        /// The greatest allowed.
        max: usize,
    },
    /// Vectors to build from do not come out even.
    #[error("{values} values are not a whole number of vectors of {dim} components")]
    Shape {
        /// Values given.
        values: usize,
        /// The dimension.
        dim: usize,
    },
    /// The map from positions to rows ends before the index does.
    #[error(
        "the index holds position {position}, but the map to rows covers {mapped}; it belongs to another generation's item list"
    )]
    RowMap {
        /// A position in the index.
        position: u32,
        /// Positions mapped.
        mapped: usize,
    },
    /// Two vectors would answer for one row.
    #[error("row {row} has two vectors; rows must be distinct")]
    DuplicateRow {
        /// The row.
        row: u32,
    },
    /// A file is not a vector index at all.
    #[error("{} is not a vector index", path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// A file was written by a release with another format.
    #[error("{} has index format {found}; this release reads format {supported}: train again to write it anew", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format this release reads.
        supported: u32,
    },
    /// A file is damaged.
    #[error("the index file {} is damaged ({reason}); restore it, or train again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system failed.
    #[error("cannot {action} the index file {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The system gave no memory or no thread.
    #[error("not enough memory for the vector index: {0}")]
    Memory(#[from] io::Error),
}
