//! What can go wrong between here and Redis.

use tastemaker_artifacts::ArtifactError;
use tastemaker_log::LogError;
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
    /// The event log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What Redis has was written from another log, or from one that has lost its end since.
    #[error(
        "Redis has records up to {redis} under this redis.prefix, but the log ends at {log}: it was filled from another log; \
         run `tastemaker rebuild` to fill it from this one, or give the project a redis.prefix of its own"
    )]
    OtherLog {
        /// One past the last record that Redis has.
        redis: u64,
        /// One past the last record of the log.
        log: u64,
    },
    /// What Redis has is another project's.
    #[error(
        "Redis has project '{redis}' under this redis.prefix, not '{own}'; give each project a redis.prefix of its own, or clear what is there"
    )]
    OtherProject {
        /// The project there.
        redis: String,
        /// This one.
        own: String,
    },
    /// Redis lost data, or has not been given everything yet.
    #[error("Redis does not have everything of this project: it is being filled, or `tastemaker rebuild` is needed")]
    NotWhole,
    /// As much is asked of Redis as may be at once.
    #[error("{0} answers are searched for in Redis already, as many as redis.concurrent_searches allows")]
    Busy(usize),
    /// So few of the nearest items pass that a search of Redis does not fill the answer.
    #[error("too few of the {0} nearest items pass the filter for an answer from Redis")]
    Selective(usize),
    /// There is nothing to publish.
    #[error("no generation serves; train one (`tastemaker train`) or promote one (`tastemaker models promote`) first")]
    NoGeneration,
}
