//! One connection that is made when first needed, once for all who wait for it, and made anew after it broke.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::observer::Observer;
use super::topology::{Connection, Topology};
use crate::RedisError;

type Made = Result<Arc<Connection>, RedisError>;

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Connecting(Shared<BoxFuture<'static, Made>>),
    Ready(Arc<Connection>),
}

/// What every slot of a client needs for connecting.
pub(crate) struct Connector {
    pub(crate) topology: Topology,
    /// Host and port, for messages.
    pub(crate) server: String,
    pub(crate) timeout: Duration,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Connector {
    async fn connect(&self) -> Result<Arc<Connection>, RedisError> {
        let made = match tokio::time::timeout(self.timeout, self.topology.connect()).await {
            Ok(Ok(connection)) => Ok(Arc::new(connection)),
            Ok(Err(error)) => Err(RedisError::of(&error, "connect", &self.server)),
            Err(_) => Err(RedisError::Unreachable {
                server: self.server.clone(),
                reason: format!("no connection within {:?}", self.timeout),
            }),
        };
        self.observer.connection(made.as_ref().err());
        made
    }
}

#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
}

impl Slot {
    /// The connection. It is made in a task of its own, so that a caller that stops waiting does not stop it from being made.
    pub(crate) async fn get(self: &Arc<Self>, connector: &Arc<Connector>) -> Made {
        let connecting = {
            let mut state = self.state.lock();
            match &*state {
                State::Ready(connection) => return Ok(Arc::clone(connection)),
                State::Connecting(connecting) => connecting.clone(),
                State::Idle => {
                    let (slot, connector) = (Arc::clone(self), Arc::clone(connector));
                    let server = connector.server.clone();
                    let task = tokio::spawn(async move {
                        let made = connector.connect().await;
                        *slot.state.lock() = match &made {
                            Ok(connection) => State::Ready(Arc::clone(connection)),
                            Err(_) => State::Idle,
                        };
                        made
                    });
                    let stopped = move |_| Err(RedisError::Unreachable { server, reason: "shutting down".to_owned() });
                    let connecting = task.map(|joined| joined.unwrap_or_else(stopped)).boxed().shared();
                    *state = State::Connecting(connecting.clone());
                    connecting
                }
            }
        };
        connecting.await
    }

    /// Forgets a connection that broke, unless another has taken its place.
    pub(crate) fn discard(&self, broken: &Arc<Connection>) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Ready(present) if Arc::ptr_eq(present, broken)) {
            *state = State::Idle;
        }
    }

    /// Forgets whatever connection there is.
    pub(crate) fn reset(&self) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Ready(_)) {
            *state = State::Idle;
        }
    }
}
