//! What others write under a prefix, as Redis tells it: client tracking in its broadcasting form, on connections of its own that speak RESP3. In a
//! cluster, each master tells of its own keys.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, PushKind, RedisResult, Value};
use tastemaker_config::{RedisConfig, RedisProtocol};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::topology::{Node, Route};
use super::{Client, Operation};
use crate::RedisError;
use crate::reply::{bytes, list};

/// Between two questions whether Redis still talks to us: what is known may be older than it should by this and the time for an answer.
const ASK_EVERY: Duration = Duration::from_secs(1);
const MASTERS: Operation = Operation::repeatable("tracking").bulk();

/// What Redis tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Tracking has begun: from now on, every change is told.
    Begun,
    /// This key was written, deleted, evicted, or has expired.
    Changed(Vec<u8>),
    /// All keys may have changed.
    AllChanged,
}

/// Listens to one Redis, for one prefix.
pub struct Tracker {
    client: Client,
    route: Route,
    prefix: String,
    patience: Duration,
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("server", &self.client.server())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Tracker {
    /// For the Redis at `url`, which is also that of `client`, and keys that begin with `prefix`. Nothing is connected yet.
    ///
    /// # Errors
    /// If URL or certificates cannot be used.
    pub fn open(url: &str, client: Client, prefix: &str) -> Result<Self, RedisError> {
        let config = RedisConfig { protocol: RedisProtocol::Resp3, ..client.config().clone() };
        let patience = config.connect_timeout.to_duration() + config.command_timeout.to_duration();
        Ok(Self { client, route: Route::open(url, config)?, prefix: prefix.to_owned(), patience })
    }

    /// Listens until that is no longer possible: then nothing that was read before can be trusted. `told` must be quick.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn run(&self, mut told: impl FnMut(Told)) -> Result<Infallible, RedisError> {
        let (sender, mut pushed) = mpsc::unbounded_channel();
        let masters = self.client.masters(MASTERS).await?;
        let mut connections = Vec::new();
        for master in &masters {
            let mut connection = self.in_time(self.route.listen(master.clone(), sender.clone())).await?;
            let mut track = redis::cmd("CLIENT");
            track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(&self.prefix);
            self.ask(&mut connection, &track).await?;
            connections.push(connection);
        }
        told(Told::Begun);
        let watch = self.watch(&mut connections, &masters);
        tokio::pin!(watch);
        loop {
            tokio::select! {
                ended = &mut watch => return ended,
                push = pushed.recv() => match push {
                    Some(PushInfo { kind: PushKind::Invalidate, data }) => invalidated(data, &mut told),
                    Some(PushInfo { kind: PushKind::Disconnection, .. }) | None => {
                        return Err(self.lost("the connection for client tracking broke"));
                    }
                    Some(_) => {}
                },
            }
        }
    }

    /// Ends when a node no longer answers, or another one has its keys.
    async fn watch(
        &self,
        connections: &mut [MultiplexedConnection],
        masters: &[Option<Node>],
    ) -> Result<Infallible, RedisError> {
        let ping = redis::cmd("PING");
        loop {
            sleep(ASK_EVERY).await;
            for connection in &mut *connections {
                self.ask(connection, &ping).await?;
            }
            if self.client.masters(MASTERS).await? != masters {
                return Err(self.lost("the masters have changed"));
            }
        }
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
        self.in_time(async { connection.send_packed_command(command).await?.extract_error() }).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, RedisError> {
        match timeout(self.patience, work).await {
            Ok(result) => result.map_err(|error| RedisError::of(&error, "tracking", self.client.server())),
            Err(_) => Err(RedisError::Timeout { operation: "tracking", after: self.patience }),
        }
    }

    fn lost(&self, reason: &str) -> RedisError {
        RedisError::Unreachable { server: self.client.server().to_owned(), reason: reason.to_owned() }
    }
}

/// A list of keys, or nothing: then the whole database was emptied.
fn invalidated(data: Vec<Value>, told: &mut impl FnMut(Told)) {
    match data.into_iter().next().and_then(list) {
        Some(keys) => keys.into_iter().filter_map(bytes).for_each(|key| told(Told::Changed(key))),
        None => told(Told::AllChanged),
    }
}
