//! Why a file cannot be imported at all, and why single rows are refused.

use std::path::PathBuf;

use serde::Serialize;

/// The file as a whole cannot be imported, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It broke off: a damaged disk, a truncated archive.
    #[error("cannot read {} beyond line {line}: {source}; the rows before it are fine, so get the whole file and import it again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The last line that was read.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// It is not the Parquet file that its name says.
    #[error("{} is no readable Parquet file: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says what its format is.
    #[error("cannot tell the format of {} by its name; use .csv, .tsv, .dat, .jsonl or .parquet, or --set import.{kind}.file.format=csv", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The section of the mapping.
        kind: &'static str,
    },
    /// No file has such a separator.
    #[error("the separator {0:?} will not do; give one ASCII character, or \"::\"")]
    Separator(String),
    /// A column that every row needs is missing.
    #[error("{} has no column for {what}{hint}; its columns are: {columns}. Name it with --set import.{key}=COLUMN", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What the column would hold.
        what: String,
        /// A near column.
        hint: String,
        /// What columns there are.
        columns: String,
        /// The key of the mapping, without `import.`.
        key: String,
    },
    /// A text file whose first line names no column, and that is of no well-known form without names.
    #[error("{} starts with '{line}', which names no known column; name the columns with --set import.{kind}=NAME, or by place (1, 2, 3 …) if the file has no header", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The start of its first line.
        line: String,
        /// A key of the mapping.
        kind: &'static str,
    },
}

/// A row that was not imported, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Line in a text file, row in a Parquet file; from 1.
    pub line: u64,
    /// The column at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The kind of mistake, the same for all rows that have it.
    pub kind: &'static str,
    /// What is wrong with this row, and what would be right.
    pub reason: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}
