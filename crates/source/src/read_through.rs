//! Reads by id through a bounded tier: an answer is remembered for a while, also that there is nothing; an id that many ask for at
//! once is asked for once; ids that are asked for together go in one query; and after a failure nobody asks for a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tastemaker_config::ItemsSourceConfig;
use tastemaker_types::Window;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::SourceError;
use crate::cache::{self, Answers};
use crate::origin::{Known, Origin, State};

/// How long the first id of a query waits for others.
const GATHER: Duration = Duration::from_millis(1);
/// Queries under way at once.
const QUERIES: usize = 2;
/// Ids that may be on their way at once; each is an entry of a map, and perhaps 512 bytes of id.
const MOST_ON_THEIR_WAY: usize = 20_000;
/// Queries for an id that changes all the while. After them, who asked is told that it could not be read.
const ATTEMPTS: usize = 3;
/// After a failure.
const REST: Duration = Duration::from_secs(1);

/// How the tier behaves; see `[items.source]`.
#[derive(Debug, Clone, Copy)]
pub struct TierOptions {
    /// How long what was found is remembered.
    pub ttl: Window,
    /// How long it is remembered that there is nothing.
    pub negative_ttl: Window,
    /// The most ids of a query.
    pub batch: usize,
    /// The longest that a caller waits.
    pub timeout: Window,
    /// The most answers remembered.
    pub capacity: u64,
}

impl From<&ItemsSourceConfig> for TierOptions {
    fn from(source: &ItemsSourceConfig) -> Self {
        let ItemsSourceConfig { ttl, negative_ttl, batch, timeout, capacity, .. } = *source;
        Self { ttl, negative_ttl, batch: batch.max(1), timeout, capacity }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TierStats {
    /// Ids answered from memory with what was found.
    pub hits: u64,
    /// Ids answered from memory with there being nothing.
    pub negative_hits: u64,
    /// Ids that were not remembered.
    pub misses: u64,
    /// Queries that failed.
    pub errors: u64,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    negative_hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

type Outcome = Option<Result<Known, SourceError>>;

/// An id on its way.
#[derive(Debug)]
struct Flight {
    outcome: watch::Sender<Outcome>,
    /// It changed meanwhile, so what the query says may be old.
    stale: bool,
}

struct Shared<O> {
    origin: O,
    options: TierOptions,
    answers: Answers,
    flights: Mutex<HashMap<Arc<str>, Flight>>,
    rest: Mutex<Option<(Instant, SourceError)>>,
    counts: Counts,
}

/// A tier in front of an origin.
pub struct ReadThrough<O> {
    shared: Arc<Shared<O>>,
    asks: mpsc::UnboundedSender<Arc<str>>,
}

impl<O: Origin> ReadThrough<O> {
    /// In front of `origin`. Needs a runtime.
    pub fn new(origin: O, options: TierOptions) -> Self {
        let answers = cache::answers(options.capacity, options.ttl, options.negative_ttl);
        let shared = Arc::new(Shared {
            origin,
            options,
            answers,
            flights: Mutex::default(),
            rest: Mutex::default(),
            counts: Counts::default(),
        });
        // Bounded by the flights: an id is sent once, while it is one.
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(gather(Arc::clone(&shared), asked));
        Self { shared, asks }
    }

    /// What is behind it.
    pub fn origin(&self) -> &O {
        &self.shared.origin
    }

    /// What is known of each id, in their order.
    ///
    /// # Errors
    /// One of them could not be read, or not within the timeout. Those that could are remembered.
    pub async fn get(&self, ids: &[String]) -> Result<Vec<Known>, SourceError> {
        let timeout = self.shared.options.timeout;
        let reading = async {
            // All are asked for before any is waited for.
            let asked: Vec<Result<Known, watch::Receiver<Outcome>>> =
                ids.iter().map(|id| self.ask(id)).collect::<Result<_, _>>()?;
            let mut answers = Vec::with_capacity(ids.len());
            for answer in asked {
                answers.push(match answer {
                    Ok(known) => known,
                    Err(mut flight) => match flight.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
                        Ok(Some(outcome)) => outcome?,
                        _ => return Err(SourceError::Unavailable("the query was given up".to_owned())),
                    },
                });
            }
            Ok(answers)
        };
        tokio::time::timeout(timeout.to_duration(), reading).await.unwrap_or(Err(SourceError::Timeout(timeout)))
    }

    /// Forgets an id that has changed.
    pub fn forget(&self, id: &str) {
        if let Some(flight) = self.shared.flights.lock().get_mut(id) {
            flight.stale = true;
        }
        self.shared.answers.invalidate(id);
    }

    /// Counts since the start.
    pub fn stats(&self) -> TierStats {
        let Counts { hits, negative_hits, misses, errors } = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TierStats { hits: read(hits), negative_hits: read(negative_hits), misses: read(misses), errors: read(errors) }
    }

    /// The answer that is remembered, or the flight that brings it.
    fn ask(&self, id: &str) -> Result<Result<Known, watch::Receiver<Outcome>>, SourceError> {
        let shared = &self.shared;
        let counts = &shared.counts;
        let remembered = |known: Known| {
            let count = if matches!(known.state, State::Present(_)) { &counts.hits } else { &counts.negative_hits };
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Ok(known))
        };
        if let Some(known) = shared.answers.get(id) {
            return remembered(known);
        }
        let mut flights = shared.flights.lock();
        if let Some(flight) = flights.get(id) {
            counts.misses.fetch_add(1, Ordering::Relaxed);
            return Ok(Err(flight.outcome.subscribe()));
        }
        // One that landed in between is remembered: it is before its flight ends.
        if let Some(known) = shared.answers.get(id) {
            return remembered(known);
        }
        counts.misses.fetch_add(1, Ordering::Relaxed);
        if let Some((until, error)) = shared.rest.lock().as_ref()
            && Instant::now() < *until
        {
            return Err(SourceError::Resting(Box::new(error.clone())));
        }
        if flights.len() >= MOST_ON_THEIR_WAY {
            return Err(SourceError::Busy);
        }
        let id: Arc<str> = id.into();
        let (outcome, waiting) = watch::channel(None);
        flights.insert(Arc::clone(&id), Flight { outcome, stale: false });
        if self.asks.send(Arc::clone(&id)).is_err() {
            flights.remove(&id);
            return Err(SourceError::Unavailable("the service is stopping".to_owned()));
        }
        Ok(Err(waiting))
    }
}

/// Makes queries of single ids, until nobody can ask any more.
async fn gather<O: Origin>(shared: Arc<Shared<O>>, mut asked: mpsc::UnboundedReceiver<Arc<str>>) {
    let queries = Arc::new(Semaphore::new(QUERIES));
    while let Some(first) = asked.recv().await {
        let Ok(turn) = Arc::clone(&queries).acquire_owned().await else { return };
        tokio::time::sleep(GATHER).await;
        let mut ids = vec![first];
        while ids.len() < shared.options.batch
            && let Ok(id) = asked.try_recv()
        {
            ids.push(id);
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _turn = turn;
            fetch(&shared, ids).await;
        });
    }
}

/// Asks for ids, again for those that changed meanwhile, and ends their flights.
async fn fetch<O: Origin>(shared: &Shared<O>, ids: Vec<Arc<str>>) {
    let _landing = Landing { shared, ids: &ids };
    let mut left = ids.clone();
    for _ in 0..ATTEMPTS {
        if left.is_empty() {
            return;
        }
        let names: Vec<String> = left.iter().map(|id| id.as_ref().to_owned()).collect();
        let found = match shared.origin.fetch(&names).await {
            Ok(found) => found,
            Err(error) => return fail(shared, &left, &error),
        };
        let mut changed = Vec::new();
        for (id, known) in left.into_iter().zip(found) {
            let mut flights = shared.flights.lock();
            if flights.get_mut(&id).is_some_and(|flight| std::mem::take(&mut flight.stale)) {
                changed.push(id);
                continue;
            }
            // Before the flight ends, so that nobody finds neither.
            shared.answers.insert(Arc::clone(&id), known.clone());
            if let Some(flight) = flights.remove(&id) {
                flight.outcome.send_replace(Some(Ok(known)));
            }
        }
        left = changed;
    }
}

fn fail<O>(shared: &Shared<O>, ids: &[Arc<str>], error: &SourceError) {
    shared.counts.errors.fetch_add(1, Ordering::Relaxed);
    *shared.rest.lock() = Some((Instant::now() + REST, error.clone()));
    let mut flights = shared.flights.lock();
    for id in ids {
        if let Some(flight) = flights.remove(id) {
            flight.outcome.send_replace(Some(Err(error.clone())));
        }
    }
}

/// Ends flights that were not ended, however the query went: else nobody would ask for these ids again.
struct Landing<'a, O> {
    shared: &'a Shared<O>,
    ids: &'a [Arc<str>],
}

impl<O> Drop for Landing<'_, O> {
    fn drop(&mut self) {
        let mut flights = self.shared.flights.lock();
        for id in self.ids {
            flights.remove(id);
        }
    }
}

impl<O> std::fmt::Debug for ReadThrough<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadThrough").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
