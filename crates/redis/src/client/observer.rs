//! What the client tells about itself while it works, for metrics. Nothing here knows of any metrics library.

use std::time::Duration;

use crate::{BreakerState, RedisError};

/// Hears of every command. Its methods are called on the path of requests: they must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A command or pipeline ended, retries included. Of a caller that gave up waiting, the error is a timeout.
    fn command(&self, operation: &'static str, took: Duration, error: Option<&RedisError>) {
        let _ = (operation, took, error);
    }

    /// A command is tried again.
    fn retry(&self, operation: &'static str) {
        let _ = operation;
    }

    /// The breaker changed.
    fn breaker(&self, state: BreakerState) {
        let _ = state;
    }

    /// A connection was made, or could not be.
    fn connection(&self, error: Option<&RedisError>) {
        let _ = error;
    }
}

/// Listens to nothing.
impl Observer for () {}
