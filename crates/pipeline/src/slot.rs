//! One declared stage as the executor keeps it: its name, policy and deadline, and its hook with the types erased. Running a wave of them,
//! with all that surrounds a hook (budget, deadline, panic, timing, metrics), happens here and only here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt;
use metrics::{Key, Label, Level, Metadata};

use crate::{OnFailure, StageContext, StageError, StageKind};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What starting a hook gives. Only an asynchronous hook costs an allocation.
pub(crate) enum Started<'a, T> {
    Now(Result<T, StageError>),
    Later(BoxFuture<'a, Result<T, StageError>>),
}

/// A stage's one function, from query and batch to its kind of result.
pub(crate) type Hook<Q, B, T> = Box<dyn for<'a> Fn(&'a Q, &'a B, StageContext) -> Started<'a, T> + Send + Sync>;

/// The whole run's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) started: Instant,
    pub(crate) total: Duration,
}

/// How one stage ended.
pub(crate) enum End<T> {
    Done { value: T, late: bool },
    Failed(StageError),
    Skipped,
}

/// An [`End`] and the wall time it took.
pub(crate) struct Ended<T> {
    pub(crate) end: End<T>,
    pub(crate) elapsed: Duration,
}

pub(crate) struct Slot<Q, B, T> {
    pub(crate) name: &'static str,
    pub(crate) kind: StageKind,
    pub(crate) on_failure: OnFailure,
    /// Time for this stage alone; the request's budget holds besides.
    pub(crate) limit: Option<Duration>,
    /// Whether the hook returns futures.
    waits: bool,
    /// Whether it runs when the budget is spent.
    pub(crate) even_late: bool,
    hook: Hook<Q, B, T>,
    seconds: Key,
    failures: Key,
}

impl<Q: Sync, B: Sync, T: Send> Slot<Q, B, T> {
    pub(crate) fn new(
        name: &'static str,
        kind: StageKind,
        on_failure: OnFailure,
        waits: bool,
        hook: Hook<Q, B, T>,
    ) -> Self {
        let key = |metric: &'static str| Key::from_parts(metric, vec![Label::from_static_parts("stage", name)]);
        Self {
            name,
            kind,
            on_failure,
            limit: None,
            waits,
            even_late: on_failure == OnFailure::Closed,
            hook,
            seconds: key("tastemaker_stage_duration_seconds"),
            failures: key("tastemaker_stage_failures_total"),
        }
    }

    /// Counts a failure that the executor found after the stage had ended.
    pub(crate) fn count_failure(&self) {
        metrics::with_recorder(|recorder| recorder.register_counter(&self.failures, &METADATA).increment(1));
    }

    /// Starts the hook; an asynchronous one has not been polled yet.
    fn begin<'a>(&'a self, query: &'a Q, batch: &'a B, budget: Budget) -> Begun<'a, T> {
        let started = Instant::now();
        let end_of_budget = budget.started + budget.total;
        if started >= end_of_budget && !self.even_late {
            return Begun::Ended(Ended { end: End::Skipped, elapsed: Duration::ZERO });
        }
        let own_end = self.limit.map(|limit| started + limit);
        let deadline = own_end.map_or(end_of_budget, |own| own.min(end_of_budget));
        let hook = || (self.hook)(query, batch, StageContext { deadline });
        let span = tracing::trace_span!("stage", name = self.name);
        match span.in_scope(|| catch_unwind(AssertUnwindSafe(hook))) {
            Ok(Started::Now(result)) => Begun::Ended(self.end(started, deadline, result)),
            Err(panic) => Begun::Ended(self.end(started, deadline, Err(panicked(panic.as_ref())))),
            Ok(Started::Later(future)) => Begun::Waiting(Box::pin(async move {
                let after = deadline.saturating_duration_since(started);
                let bounded = async { tokio::time::timeout_at(deadline.into(), future).await };
                let result = match AssertUnwindSafe(bounded).catch_unwind().await {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) => Err(StageError::Deadline { after }),
                    Err(panic) => Err(panicked(panic.as_ref())),
                };
                self.end(started, deadline, result)
            })),
        }
    }

    fn end(&self, started: Instant, deadline: Instant, result: Result<T, StageError>) -> Ended<T> {
        let ended = Instant::now();
        let elapsed = ended - started;
        metrics::with_recorder(|recorder| {
            recorder.register_histogram(&self.seconds, &METADATA).record(elapsed.as_secs_f64());
        });
        let end = match result {
            Ok(value) => End::Done { value, late: ended > deadline },
            Err(error) => {
                self.count_failure();
                tracing::warn!(stage = self.name, %error, "a stage failed");
                End::Failed(error)
            }
        };
        Ended { end, elapsed }
    }
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

enum Begun<'a, T> {
    Ended(Ended<T>),
    Waiting(BoxFuture<'a, Ended<T>>),
}

/// Runs stages that do not see each other's results, and returns how each ended, in their order. Asynchronous ones are set going first;
/// the synchronous ones compute while those wait. Without any asynchronous one this never yields.
pub(crate) async fn run_wave<Q: Sync, B: Sync, T: Send>(
    slots: &[Slot<Q, B, T>],
    query: &Q,
    batch: &B,
    budget: Budget,
) -> Vec<Ended<T>> {
    let mut ended: Vec<Option<Ended<T>>> = slots.iter().map(|_| None).collect();
    let mut waiting = Vec::new();
    for (place, slot) in ended.iter_mut().zip(slots).filter(|(_, slot)| slot.waits) {
        match slot.begin(query, batch, budget) {
            Begun::Ended(end) => *place = Some(end),
            Begun::Waiting(mut future) => match futures::poll!(&mut future) {
                Poll::Ready(end) => *place = Some(end),
                Poll::Pending => waiting.push(async move { *place = Some(future.await) }),
            },
        }
    }
    let mut computed = Vec::with_capacity(slots.len());
    for slot in slots.iter().filter(|slot| !slot.waits) {
        computed.push(match slot.begin(query, batch, budget) {
            Begun::Ended(end) => end,
            Begun::Waiting(future) => future.await,
        });
    }
    futures::future::join_all(waiting).await;
    let mut computed = computed.into_iter();
    ended.into_iter().filter_map(|place| place.or_else(|| computed.next())).collect()
}

fn panicked(panic: &(dyn Any + Send)) -> StageError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    StageError::Panicked { message }
}
