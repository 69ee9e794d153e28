//! Why training, evaluation or an export of embeddings did not come to its end.

use tastemaker_artifacts::ArtifactError;
use tastemaker_log::LogError;
use tastemaker_models::ModelError;
use tastemaker_store::index::IndexError;

/// Why training, evaluation or an export of embeddings did not come to its end. Nothing half-done is left behind.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The caller asked to stop.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// The log has no positive event.
    #[error(
        "there are no positive events to learn from: {records} records in the log, none of {types} counts as positive; \
         import events, or declare a type under [events] with `positive = true`"
    )]
    NoPositiveEvents {
        /// Records in the log.
        records: u64,
        /// The declared types of events.
        types: String,
    },
    /// Events cannot be split into two sides.
    #[error(
        "cannot hold out the latest of {events} positive events to measure on: {reason}; give more events, change \
         `training.holdout`, or train on everything with --no-holdout"
    )]
    NothingToHoldOut {
        /// Positive events there are.
        events: usize,
        /// What is missing.
        reason: &'static str,
    },
    /// Rows are numbered in 32 bits.
    #[error("there are more than 4294967295 {what}; that is more than one model can hold")]
    TooMany {
        /// Users or items.
        what: &'static str,
    },
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The model could not be fitted.
    #[error("could not fit the model: {0}")]
    Model(#[from] ModelError),
    /// A file of vectors is not what it should be.
    #[error("{path} is damaged: {source}; train again, or name another generation")]
    Vectors {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The index could not be built.
    #[error("could not build the index: {0}")]
    Index(#[from] IndexError),
    /// The generation could not be stored or loaded.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A file could not be written.
    #[error("could not write: {0}; check that the disk is not full and the folder is writable")]
    Io(#[from] std::io::Error),
    /// Parquet could not be written.
    #[error("could not write {path}: {source}")]
    Parquet {
        /// The file.
        path: String,
        /// The cause.
        source: parquet::errors::ParquetError,
    },
}
