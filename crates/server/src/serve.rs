//! Accepting connections, and stopping without failing a request.
//!
//! At the signal the service stops being ready and asks clients, with every answer, to close their connection; it still
//! accepts for a moment, so that load balancers notice. Then it stops accepting, takes in what the system had already
//! accepted for it, lets running requests end, and closes the log. What happens on a connection is in `connections`.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tastemaker_config::Config;
use tokio::net::{TcpListener, TcpStream};

use crate::connections::Connections;
use crate::{Access, Engine, EngineError, Lifecycle, app};

/// How long connections are still accepted after the signal.
const NOTICE: Duration = Duration::from_millis(500);
/// How long handshakes under way may take to end before the listener closes.
const HANDSHAKE: Duration = Duration::from_millis(100);

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
    let access = if config.server.stateless { Access::Stateless } else { Access::ReadWrite };
    let engine = tokio::task::spawn_blocking(move || Engine::open(opening, access))
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
    let tasks = engine.start_background()?;
    tracing::info!(%address, "serving");

    let grace = engine.config().server.shutdown_grace.to_duration();
    let acceptor = Acceptor { listener, connections: Connections::new(router, Arc::clone(&engine)) };
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
    connections: Connections,
}

impl Acceptor {
    async fn run_until(&self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.connections.take(stream),
                    // Out of file descriptors or the like: closing connections helps, spinning does not.
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    /// Stops listening without a reset for anybody who is connected already, and waits for running requests, at most `grace`.
    async fn stop(self, grace: Duration) {
        if let Err(error) = ignore_new_connections(&self.listener) {
            tracing::debug!("new connections come until the listener closes: {error}");
        }
        self.run_until(tokio::time::sleep(HANDSHAKE.min(grace / 4))).await;
        let Self { listener, connections } = self;
        // What is queued here would be reset by closing. Tokio may not have heard of it yet; the system has.
        match listener.into_std() {
            Ok(listener) => accept_queued(&listener, &connections),
            Err(error) => tracing::warn!("cannot accept what is queued: {error}"),
        }
        let open = connections.finish(grace).await;
        if open > 0 {
            tracing::warn!(open, "the grace period is over; closing connections with requests under way");
        }
    }
}

/// Lets the system pass over requests for new connections, while handshakes under way still end: closing a listener resets
/// those that it has completed and nobody has accepted. Clients ask again after a second, and are told then that nobody listens.
#[cfg(target_os = "linux")]
fn ignore_new_connections(listener: &TcpListener) -> std::io::Result<()> {
    use socket2::{SockFilter, SockRef};
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    // Classic BPF over the TCP header: load the byte of flags, mask it, and drop (accept no byte of) a lone SYN.
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),
        SockFilter::new(0x54, 0, 0, SYN_OR_ACK),
        SockFilter::new(0x15, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ])
}

#[cfg(not(target_os = "linux"))]
fn ignore_new_connections(_: &TcpListener) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Accepts until nothing is left. The listener does not block.
fn accept_queued(listener: &std::net::TcpListener, connections: &Connections) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => connections.take(stream),
                Err(error) => tracing::warn!("cannot take a connection: {error}"),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // One that its client gave up again.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!("cannot accept what is queued: {error}");
                return;
            }
        }
    }
}
