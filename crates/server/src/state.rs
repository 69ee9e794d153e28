//! What every handler shares: the engine, the keys, and the limits on concurrent work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tastemaker_config::Config;
use tastemaker_monitor::Monitor;
use tokio::sync::Semaphore;

use crate::http::auth::Keys;
use crate::{Engine, EngineError};

/// Whether the service is on its way out. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<AtomicBool>);

impl Lifecycle {
    /// From now on the service is not ready, and asks clients to close their connections.
    pub fn drain(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether [`Lifecycle::drain`] was called.
    pub fn draining(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Shared {
    engine: Arc<Engine>,
    lifecycle: Lifecycle,
    keys: Keys,
    permits: Semaphore,
    heavy_work: Arc<Semaphore>,
}

/// The state of the router; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

impl App {
    pub(crate) fn new(engine: Arc<Engine>, lifecycle: Lifecycle) -> Result<Self, EngineError> {
        let server = &engine.config().server;
        let keys = Keys::new(&server.api_keys)?;
        let permits = Semaphore::new(server.concurrency_limit.min(Semaphore::MAX_PERMITS));
        Ok(Self(Arc::new(Shared { engine, lifecycle, keys, permits, heavy_work: Arc::new(Semaphore::new(1)) })))
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    pub(crate) fn config(&self) -> &Config {
        self.0.engine.config()
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        self.0.engine.monitor()
    }

    pub(crate) fn draining(&self) -> bool {
        self.0.lifecycle.draining()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// One for each request that may be worked on.
    pub(crate) fn permits(&self) -> &Semaphore {
        &self.0.permits
    }

    /// One for each large body that may be decoded, and each large answer that may be written, apart from the threads that
    /// answer requests: bulk work takes one core at most from recommendations.
    pub(crate) fn heavy_work(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.heavy_work)
    }
}
