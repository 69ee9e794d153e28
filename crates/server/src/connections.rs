//! Open connections: how many, how long they may take, and how they end when the service stops. Accepting them is for
//! `serve`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tastemaker_monitor::catalogue as metrics;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::Engine;

/// The longest a client may take to send a request's head, and a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest head of a request, and the most headers in it.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// Open connections; more are closed at once.
const MAX_CONNECTIONS: u32 = 16 * 1024;
/// How long a connection that has not asked anything yet stays open when the service stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The connections of one service.
pub(crate) struct Connections {
    router: axum::Router,
    engine: Arc<Engine>,
    slots: Arc<Semaphore>,
    /// Whether they are to end.
    closing: watch::Sender<bool>,
}

impl Connections {
    pub(crate) fn new(router: axum::Router, engine: Arc<Engine>) -> Self {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        Self { router, engine, slots, closing: watch::Sender::new(false) }
    }

    /// Serves one until its end.
    pub(crate) fn take(&self, stream: TcpStream) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.engine.monitor().count(&metrics::SHED, ["connections"], 1);
            return;
        };
        // Small answers must not wait for the client's delayed acknowledgement (40 ms).
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let router = TowerToHyperService::new(self.router.clone());
        tokio::spawn(serve(stream, router, self.closing.subscribe(), slot, Arc::clone(&self.engine)));
    }

    /// Ends them all, each after the request that it works on or is about to get; waits for that at most `grace`. Gives the
    /// number of those that are open still.
    pub(crate) async fn finish(self, grace: Duration) -> usize {
        self.closing.send_replace(true);
        let all = self.slots.acquire_many(MAX_CONNECTIONS);
        let _ = tokio::time::timeout(grace, all).await;
        MAX_CONNECTIONS as usize - self.slots.available_permits()
    }
}

async fn serve(
    stream: TcpStream,
    router: TowerToHyperService<axum::Router>,
    mut closing: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
    engine: Arc<Engine>,
) {
    engine.monitor().adjust(&metrics::HTTP_CONNECTIONS, [], 1.0);
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let told_to_close = async {
        // An error says that nobody is left who could tell.
        let _ = closing.wait_for(|closing| *closing).await;
        let _ = tokio::time::timeout(FIRST_REQUEST, asked.notified()).await;
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told_to_close => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
    engine.monitor().adjust(&metrics::HTTP_CONNECTIONS, [], -1.0);
    drop(slot);
}
