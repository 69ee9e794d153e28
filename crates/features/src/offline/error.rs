//! Why features of the past cannot be computed.

use std::io;

use arrow_schema::ArrowError;
use tastemaker_expr::EvalError;
use tastemaker_log::LogError;

use crate::table::TableError;

/// What went wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The event log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Inputs that do not fit in memory could not be put aside.
    #[error("cannot use the temporary file beside the output: {0}; make room, or write the output to another disk")]
    Spill(#[from] io::Error),
    /// A temporary file does not hold what was written to it.
    #[error("the temporary file beside the output is damaged ({0}); run this again")]
    Damaged(#[from] postcard::Error),
    /// Columns could not be computed.
    #[error("features could not be computed: {0}")]
    Evaluate(#[from] EvalError),
    /// Columns could not be put together.
    #[error("features could not be written as columns: {0}")]
    Columns(#[from] ArrowError),
    /// Whoever takes the columns wants no more, or has no memory for them.
    #[error(transparent)]
    Stopped(ArrowError),
    /// The thread that reads the log is gone.
    #[error("reading the event log failed unexpectedly; run this again")]
    Reader,
    /// The caller wanted no more.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
