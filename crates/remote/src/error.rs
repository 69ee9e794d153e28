//! What can go wrong between here and Redis.

use tastemaker_artifacts::ArtifactError;
use tastemaker_recommend::{GenerationError, RecommendError, SetupError};
use tastemaker_redis::RedisError;

/// Why something was not read from Redis, or not written to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The request cannot be answered as it is.
    #[error(transparent)]
    Request(#[from] RecommendError),
    /// The settings do not fit together.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The files of a generation.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// What a generation's files say.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// There is nothing to publish.
    #[error("no generation serves; train one (`tastemaker train`) or promote one (`tastemaker models promote`) first")]
    NoGeneration,
}
