//! A client of a real Redis for tests.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use parking_lot::Mutex;
use tastemaker_config::{RedisConfig, RedisProtocol};
use tastemaker_redis::{BreakerState, Client, Observer, RedisError};
use tastemaker_testkit::RedisServer;
use tastemaker_types::Window;

/// Settings for a machine that may be busy with other tests.
pub(crate) fn patient() -> RedisConfig {
    RedisConfig {
        prefix: "t:".to_owned(),
        command_timeout: Window::from_millis(10_000),
        connect_timeout: Window::from_millis(5_000),
        bulk_timeout: Window::from_millis(60_000),
        ..RedisConfig::default()
    }
}

pub(crate) fn client_of(server: &RedisServer, config: &RedisConfig) -> Client {
    Client::open(&server.url(), config, Arc::new(())).unwrap()
}

/// A server with search, and a client.
pub(crate) fn redis() -> (RedisServer, Client) {
    redis_speaking(RedisProtocol::Resp3)
}

pub(crate) fn redis_speaking(protocol: RedisProtocol) -> (RedisServer, Client) {
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &RedisConfig { protocol, ..patient() });
    (server, client)
}

/// Writes down what it hears.
#[derive(Default)]
pub(crate) struct Heard {
    pub breaker: Mutex<Vec<BreakerState>>,
    pub retries: Mutex<Vec<&'static str>>,
    pub errors: Mutex<Vec<(&'static str, &'static str)>>,
}

impl Observer for Heard {
    fn command(&self, operation: &'static str, _: std::time::Duration, error: Option<&RedisError>) {
        if let Some(error) = error {
            self.errors.lock().push((operation, error.kind()));
        }
    }

    fn retry(&self, operation: &'static str) {
        self.retries.lock().push(operation);
    }

    fn breaker(&self, state: BreakerState) {
        self.breaker.lock().push(state);
    }
}
