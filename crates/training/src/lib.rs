//! Log in, generation out. Reads the event log beside a running server, keeps the positive events, splits them by time,
//! fits a model, measures it beside the popularity baseline, fits it again on everything, builds the index, and
//! publishes a generation. Which model and which settings is the project's choice; how a model works is the business
//! of `models`, and what a generation is that of `artifacts`.

mod dataset;
mod embeddings;
mod error;
mod evaluate;
mod promotion;
mod settings;
mod split;
mod stopping;
mod train;

pub use dataset::{Dataset, Ids, Positive};
pub use embeddings::{ExportedEmbeddings, export_embeddings};
pub use error::TrainingError;
pub use promotion::Verdict;
pub use split::{Repeats, TestUser, TimeSplit};
pub use train::{Evaluated, TrainOptions, Trained, evaluate, train};

/// Which of several fits is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// To find the number of iterations, with `embeddings.early_stop_patience`.
    Stopping,
    /// On the events before the cutoff, to be measured.
    Holdout,
    /// On everything, to serve.
    Final,
}

/// What is going on, for a progress bar. The callback that gets it may break to cancel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Reading the log.
    Reading {
        /// Records so far.
        records: u64,
        /// Records in all.
        of: u64,
    },
    /// Fitting the model.
    Fitting {
        /// Which fit.
        fit: Fit,
        /// Half-iterations done.
        done: usize,
        /// Half-iterations planned.
        of: usize,
    },
    /// Ranking for the held-out users.
    Measuring {
        /// Their number.
        users: usize,
    },
    /// Building the index.
    Indexing {
        /// Vectors in it.
        items: usize,
    },
    /// Writing and checking the generation's files.
    Publishing,
}
