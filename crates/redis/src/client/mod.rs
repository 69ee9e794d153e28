//! Commands to Redis and their answers: shared connections that come back by themselves, a deadline for every command, retries from a budget,
//! a circuit breaker, and errors that say who must act. What is asked, and why, is not known here.

mod breaker;
mod budget;
mod observer;
mod operation;
mod parts;
mod script;
mod slot;
mod topology;
mod tracking;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tastemaker_config::RedisConfig;
use tokio::time::{Instant, sleep, timeout_at};

pub use breaker::BreakerState;
pub use observer::Observer;
pub use operation::Operation;
pub(crate) use parts::whole_name;
pub use script::Script;
pub use tracking::{Told, Tracker};

use crate::{Layout, RedisError};
use breaker::Breaker;
use budget::RetryBudget;
use slot::{Connector, Slot};
use topology::Request;

/// A Redis: cheap to clone, all clones share the connections and the breaker.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Arc<Connector>,
    slots: Vec<Arc<Slot>>,
    next: AtomicUsize,
    breaker: Breaker,
    budget: RetryBudget,
    observer: Arc<dyn Observer>,
    endings: parts::Known,
    layout: Layout,
    config: RedisConfig,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server()).field("breaker", &self.breaker()).finish()
    }
}

/// The most times a command is sent.
const MAX_ATTEMPTS: u32 = 3;
/// A costly command may take so many times as long as others.
const COSTLY: u32 = 4;
/// Before the first retry; doubled for the next.
const BACKOFF: Duration = Duration::from_millis(2);

/// An answer from each node, or to each command.
type Answers = Vec<Result<Value, RedisError>>;

impl Client {
    /// For the Redis at `url` (`storage.online`). Nothing is connected yet: that happens with the first command, or by [`Client::warm`].
    ///
    /// # Errors
    /// If URL or certificates cannot be used.
    pub fn open(url: &str, config: &RedisConfig, observer: Arc<dyn Observer>) -> Result<Self, RedisError> {
        let (topology, server) = topology::open(url, config)?;
        let timeout = config.connect_timeout.to_duration();
        let connector = Arc::new(Connector { topology, server, timeout, observer: Arc::clone(&observer) });
        Ok(Self {
            inner: Arc::new(Inner {
                connector,
                slots: (0..config.connections.max(1)).map(|_| Arc::default()).collect(),
                next: AtomicUsize::new(0),
                breaker: Breaker::new(config.breaker.failures),
                budget: RetryBudget::new(config.retry_budget),
                observer,
                endings: parts::Known::default(),
                layout: Layout::new(&config.prefix),
                config: config.clone(),
            }),
        })
    }

    /// Makes all connections now, so that the first requests do not wait for them.
    ///
    /// # Errors
    /// The first one that cannot be made.
    pub async fn warm(&self) -> Result<(), RedisError> {
        let inner = &self.inner;
        futures::future::try_join_all(inner.slots.iter().map(|slot| slot.get(&inner.connector))).await.map(|_| ())
    }

    /// The names of this project.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// Host and port.
    pub fn server(&self) -> &str {
        &self.inner.connector.server
    }

    /// Whether commands are sent at present.
    pub fn breaker(&self) -> BreakerState {
        self.inner.breaker.state()
    }

    /// Whether Redis is a cluster, where the keys of one script must be in one slot.
    pub fn is_cluster(&self) -> bool {
        self.inner.connector.topology.is_cluster()
    }

    /// The longest that an operation takes.
    pub fn deadline(&self, operation: Operation) -> Duration {
        let config = &self.inner.config;
        match (operation.is_bulk(), operation.is_costly()) {
            (true, _) => config.bulk_timeout.to_duration(),
            (false, true) => config.command_timeout.to_duration() * COSTLY,
            (false, false) => config.command_timeout.to_duration(),
        }
    }

    /// Asks whether Redis answers.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.call(Operation::repeatable("ping"), &redis::cmd("PING")).await.map(|_| ())
    }

    /// Sends one command.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn call(&self, operation: Operation, command: &Cmd) -> Result<Value, RedisError> {
        let answers = self.request(operation, Request::Command(command)).await?;
        answers
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(RedisError::answer(operation.name(), "an answer", &Value::Nil)))
    }

    /// Sends one command to the server, or, in a cluster, to each master in turn: for what `next` asks of a node's own keys, given its last answer,
    /// until it asks no more.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn call_each_node(
        &self,
        operation: Operation,
        mut next: impl FnMut(Option<Value>) -> Option<Cmd>,
    ) -> Result<(), RedisError> {
        for node in self.masters(operation).await? {
            let mut answer = None;
            while let Some(command) = next(answer.take()) {
                answer = Some(match &node {
                    None => self.call(operation, &command).await?,
                    Some(node) => {
                        let mut answers = self.request(operation, Request::At(&command, node)).await?;
                        answers.pop().unwrap_or(Ok(Value::Nil))?
                    }
                });
            }
        }
        Ok(())
    }

    /// Sends many commands at once and returns the answer to each, in order. They are no transaction.
    ///
    /// # Errors
    /// If the pipeline as a whole failed; what single commands failed with is in its place.
    pub async fn pipeline(
        &self,
        operation: Operation,
        pipeline: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.request(operation, Request::Pipeline(pipeline)).await?;
        if answers.len() != pipeline.len() {
            return Err(RedisError::answer(operation.name(), "an answer to each command", &Value::Nil));
        }
        Ok(answers)
    }

    async fn request(&self, operation: Operation, request: Request<'_>) -> Result<Answers, RedisError> {
        let inner = &self.inner;
        if inner.breaker.state() != BreakerState::Closed {
            let error = RedisError::BreakerOpen { operation: operation.name() };
            inner.observer.command(operation.name(), Duration::ZERO, Some(&error));
            return Err(error);
        }
        let mut watch = Watch { client: self, operation, started: Instant::now(), over: false };
        let result = self.attempts(operation, request, watch.started).await;
        watch.end(result.as_ref().err());
        result
    }

    async fn attempts(
        &self,
        operation: Operation,
        request: Request<'_>,
        started: Instant,
    ) -> Result<Answers, RedisError> {
        let limit = self.deadline(operation);
        let deadline = started + limit;
        let mut attempt = 1;
        loop {
            let error = match timeout_at(deadline, self.inner.attempt(operation.name(), request)).await {
                Err(_) => return Err(RedisError::Timeout { operation: operation.name(), after: limit }),
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(error)) => error,
            };
            let backoff = BACKOFF * 2_u32.pow(attempt - 1);
            let may_retry = operation.is_repeatable()
                && attempt < MAX_ATTEMPTS
                && matches!(error, RedisError::Unreachable { .. } | RedisError::ReadOnly { .. })
                && Instant::now() + backoff < deadline
                && self.inner.budget.take();
            if !may_retry {
                return Err(error);
            }
            self.inner.observer.retry(operation.name());
            sleep(backoff).await;
            attempt += 1;
        }
    }

    /// Pings until Redis answers, then closes the breaker. Ends with the last clone of the client.
    fn probe(&self) {
        let client = Arc::downgrade(&self.inner);
        let interval = self.inner.config.breaker.probe_interval.to_duration();
        // A caller may be dropped together with its runtime; then nobody is left to probe for.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            loop {
                sleep(interval).await;
                let Some(inner) = client.upgrade() else { return };
                inner.turn(BreakerState::Open, BreakerState::HalfOpen);
                let ping = redis::cmd("PING");
                // A new connection may be needed first.
                let limit = inner.connector.timeout + inner.config.command_timeout.to_duration();
                let answer = timeout_at(Instant::now() + limit, inner.attempt("ping", Request::Command(&ping))).await;
                match answer {
                    Ok(Ok(_)) => return inner.turn(BreakerState::HalfOpen, BreakerState::Closed),
                    Ok(Err(error)) if !error.is_silence() => {
                        return inner.turn(BreakerState::HalfOpen, BreakerState::Closed);
                    }
                    _ => {
                        inner.reset();
                        inner.turn(BreakerState::HalfOpen, BreakerState::Open);
                    }
                }
            }
        });
    }
}

impl Inner {
    async fn attempt(&self, operation: &'static str, request: Request<'_>) -> Result<Answers, RedisError> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[index];
        let shared = slot.get(&self.connector).await?;
        let mut connection = shared.as_ref().clone();
        let failure = |error: &redis::RedisError| RedisError::of(error, operation, &self.connector.server);
        let result = match connection.send(request).await {
            Err(error) => Err(failure(&error)),
            Ok(answers) => {
                let answers = answers.into_iter().map(|answer| match answer {
                    Ok(Value::ServerError(error)) => Err(RedisError::of_server(&error, operation)),
                    Ok(value) => Ok(value),
                    Err(error) => Err(failure(&error)),
                });
                match request {
                    // The caller sees to the errors of single commands, unless it was no answer at all.
                    Request::Pipeline(_) => answers
                        .map(|answer| match answer {
                            Err(error) if error.is_silence() => Err(error),
                            answer => Ok(answer),
                        })
                        .collect(),
                    _ => answers.map(|answer| answer.map(Ok)).collect(),
                }
            }
        };
        if result.as_ref().is_err_and(RedisError::wants_reconnect) {
            slot.discard(&shared);
        }
        result
    }

    fn reset(&self) {
        self.slots.iter().for_each(|slot| slot.reset());
    }

    fn turn(&self, from: BreakerState, to: BreakerState) {
        if self.breaker.change(from, to) {
            self.observer.breaker(to);
        }
    }
}

/// Tells observer and breaker how a command ended, also when its caller stopped waiting and dropped it.
struct Watch<'c> {
    client: &'c Client,
    operation: Operation,
    started: Instant,
    over: bool,
}

impl Watch<'_> {
    fn end(&mut self, error: Option<&RedisError>) {
        self.over = true;
        let inner = &self.client.inner;
        inner.observer.command(self.operation.name(), self.started.elapsed(), error);
        match error {
            Some(RedisError::Timeout { .. }) if self.operation.is_costly() => {}
            Some(error) if error.is_silence() => {
                if inner.breaker.failure() {
                    tracing::warn!(server = self.client.server(), %error, "Redis does not answer; not asking until it does");
                    inner.observer.breaker(BreakerState::Open);
                    // A connection whose other end is gone without a word would be waited on for minutes.
                    inner.reset();
                    self.client.probe();
                }
            }
            _ => {
                inner.breaker.success();
                inner.budget.earn();
            }
        }
    }
}

impl Drop for Watch<'_> {
    /// A caller with a shorter deadline than ours gave up. Unless it was in a hurry, Redis is to blame.
    fn drop(&mut self) {
        let waited = self.started.elapsed();
        if !self.over && waited * 2 >= self.client.deadline(self.operation) {
            self.end(Some(&RedisError::Timeout { operation: self.operation.name(), after: waited }));
        }
    }
}
