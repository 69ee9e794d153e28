//! What can go wrong in the engine, by the part in which it does.

use tastemaker_artifacts::{ArtifactError, Version};
use tastemaker_features::set::FeatureSetError;
use tastemaker_log::LogError;
use tastemaker_recommend::{RecommendError, SetupError};
use tastemaker_remote::RemoteError;
use tastemaker_source::SourceError;

use crate::RefusedRows;

/// An error of the engine or of serving it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store of generations.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Making a recommendation.
    #[error(transparent)]
    Recommend(#[from] RecommendError),
    /// The `[recommend]` settings do not fit together.
    #[error(transparent)]
    Settings(#[from] SetupError),
    /// Declared features cannot work.
    #[error(transparent)]
    Features(#[from] FeatureSetError),
    /// The items' database.
    #[error(transparent)]
    ItemsSource(#[from] SourceError),
    /// A request for features cannot be answered as it is.
    #[error("{field}: {message}")]
    FeatureRequest {
        /// The part of the request: `features[2]`, `entities`.
        field: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Rows of a feature view were refused, and none was written.
    #[error("{0}")]
    FeatureRows(RefusedRows),
    /// A generation does not fit this project or program; the present one keeps serving.
    #[error("generation {version} was refused: {reason}")]
    Refused {
        /// Which one.
        version: Version,
        /// Why.
        reason: String,
    },
    /// The Redis that the project serves from.
    #[error(transparent)]
    Online(RemoteError),
    /// What only the server with the log can do.
    #[error("this server keeps no event log (server.stateless); {0}")]
    Stateless(&'static str),
    /// A write to an engine that was opened for reading.
    #[error(
        "the project was opened for reading; writes go through the running server, or through one opened for writing"
    )]
    ReadOnly,
    /// The service cannot start or stop.
    #[error("{what}")]
    Setup {
        /// What failed, why, and what to do.
        what: String,
    },
}

impl From<RemoteError> for EngineError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Request(error) => Self::Recommend(error),
            other => Self::Online(other),
        }
    }
}

impl EngineError {
    /// The key of the project file that is to be changed, if it is that.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Settings(error) => Some(error.key()),
            Self::Features(error) => Some(error.key.clone()),
            Self::ItemsSource(error) => error.key().map(str::to_owned),
            _ => None,
        }
    }

    pub(crate) fn setup(doing: &str, cause: &dyn std::fmt::Display) -> Self {
        Self::Setup { what: format!("could not {doing}: {cause}") }
    }
}
