//! Accepting connections, and stopping without failing a request.
//!
//! At the signal the service stops being ready and asks clients, with every answer, to close their connection; it still
//! accepts for a moment, so that load balancers notice. Then it stops accepting, takes in what the system had already
//! accepted for it, lets running requests end, and closes the log.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tastemaker_config::Config;
use tastemaker_monitor::catalogue as metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Access, Engine, EngineError, Lifecycle, app};

/// The longest a client may take to send a request's head, and a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest head of a request, and the most headers in it.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// Open connections; more are closed at once.
const MAX_CONNECTIONS: usize = 16 * 1024;
/// How long connections are still accepted after the signal.
const NOTICE: Duration = Duration::from_millis(500);
/// How long a connection that was accepted last may take to send its request.
const SETTLE: Duration = Duration::from_millis(100);

/// Opens the engine, calls `opened`, and serves on `listener` until `shutdown` is done, then drains.
///
/// # Errors
/// The engine cannot be opened, the address is not loopback while no keys are configured, or the log cannot be closed.
pub async fn serve(
    config: Arc<Config>,
    listener: TcpListener,
    opened: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), EngineError> {
    let address = listener.local_addr().map_err(|e| EngineError::setup("find out the listening address", &e))?;
    check_exposed(&config, address)?;
    let opening = Arc::clone(&config);
    let engine = tokio::task::spawn_blocking(move || Engine::open(opening, Access::ReadWrite))
        .await
        .map_err(|e| EngineError::setup("open the project", &e))??;
    opened();
    serve_engine(Arc::new(engine), listener, shutdown).await
}

/// As [`serve`], for an engine that is open already.
///
/// # Errors
/// As [`serve`].
pub async fn serve_engine(
    engine: Arc<Engine>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), EngineError> {
    let address = listener.local_addr().map_err(|e| EngineError::setup("find out the listening address", &e))?;
    check_exposed(engine.config(), address)?;
    let lifecycle = Lifecycle::default();
    let router = app(Arc::clone(&engine), lifecycle.clone())?;
    let tasks = engine.start_background();
    tracing::info!(%address, "serving");

    let grace = engine.config().server.shutdown_grace.to_duration();
    let mut acceptor = Acceptor::new(listener, router, Arc::clone(&engine));
    acceptor.run_until(shutdown).await;
    tracing::info!("draining");
    lifecycle.drain();
    acceptor.run_until(tokio::time::sleep(NOTICE.min(grace / 4))).await;
    acceptor.stop(grace).await;
    drop(tasks);
    tokio::task::spawn_blocking(move || engine.close())
        .await
        .map_err(|e| EngineError::setup("close the event log", &e))??;
    tracing::info!("stopped");
    Ok(())
}

/// Done at SIGTERM or SIGINT.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut stream) => drop(stream.recv().await),
            Err(error) => {
                tracing::error!("cannot listen for signals: {error}");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}

/// Refuses to serve the world without keys.
fn check_exposed(config: &Config, address: SocketAddr) -> Result<(), EngineError> {
    if address.ip().is_loopback() || !config.server.api_keys.is_empty() {
        return Ok(());
    }
    Err(EngineError::Setup {
        what: format!(
            "will not listen on {address} without API keys: anyone who reaches it could read and write everything; \
             listen on 127.0.0.1, or configure [[server.api_keys]]"
        ),
    })
}

struct Acceptor {
    listener: TcpListener,
    router: axum::Router,
    engine: Arc<Engine>,
    graceful: GracefulShutdown,
    slots: Arc<Semaphore>,
}

impl Acceptor {
    fn new(listener: TcpListener, router: axum::Router, engine: Arc<Engine>) -> Self {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { listener, router, engine, graceful: GracefulShutdown::new(), slots }
    }

    async fn run_until(&mut self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream),
                    // Out of file descriptors or the like: closing connections helps, spinning does not.
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    fn take(&self, stream: TcpStream) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.engine.monitor().count(&metrics::SHED, ["connections"], 1);
            return;
        };
        // Small answers must not wait for the client's delayed acknowledgement (40 ms).
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let service = TowerToHyperService::new(self.router.clone());
        tokio::spawn(connection(stream, service, self.graceful.watcher(), slot, Arc::clone(&self.engine)));
    }

    /// Stops accepting and waits for running requests, at most `grace`.
    async fn stop(self, grace: Duration) {
        while let Some(Ok((stream, _))) = self.listener.accept().now_or_never() {
            self.take(stream);
        }
        let Self { listener, router, engine, graceful, slots } = self;
        drop((listener, router, engine));
        tokio::time::sleep(SETTLE.min(grace)).await;
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            let open = MAX_CONNECTIONS - slots.available_permits();
            tracing::warn!(open, "the grace period is over; closing connections with requests under way");
        }
    }
}

async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<axum::Router>,
    watcher: Watcher,
    slot: OwnedSemaphorePermit,
    engine: Arc<Engine>,
) {
    engine.monitor().adjust(&metrics::HTTP_CONNECTIONS, [], 1.0);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(serving).await {
        tracing::debug!("a connection ended early: {error}");
    }
    engine.monitor().adjust(&metrics::HTTP_CONNECTIONS, [], -1.0);
    drop(slot);
}
