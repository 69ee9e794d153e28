//! What can go wrong in one stage.

use std::time::Duration;

/// Why a stage did not do its part. Whether that degrades the answer or empties it is the stage's
/// [policy](crate::OnFailure).
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The hook returned an error of its own.
    #[error("{0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The hook panicked: a bug in the stage, contained here.
    #[error("the stage panicked: {message}; this is a bug in it")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// An asynchronous hook was cut off.
    #[error("the stage was cut off after {after:?}; give it a longer deadline, or the request a longer budget")]
    Deadline {
        /// How long it was given.
        after: Duration,
    },
    /// A result does not have one entry per candidate.
    #[error("the stage returned {got} results for {expected} candidates; this is a bug in it")]
    Length {
        /// Candidates in the batch.
        expected: usize,
        /// Results returned.
        got: usize,
    },
    /// A selection names a candidate twice or one that is not there.
    #[error(
        "the selection names position {position} of {candidates} candidates, which is not there or there twice; this is a bug in it"
    )]
    Selection {
        /// The offending position.
        position: u32,
        /// Candidates in the batch.
        candidates: usize,
    },
}

impl StageError {
    /// Wraps the error of a hook.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    /// One word for labels and flags: `error`, `panic`, `deadline` or `invalid`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Failed(_) => "error",
            Self::Panicked { .. } => "panic",
            Self::Deadline { .. } => "deadline",
            Self::Length { .. } | Self::Selection { .. } => "invalid",
        }
    }
}
