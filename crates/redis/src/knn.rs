//! The k nearest items that pass a filter. The search module can compare every item that passes, or walk its graph until enough of what it
//! meets passes; which is faster depends on how many pass, and its own guess is at times several times slower than the other way. So how
//! many pass is counted, now and then and in the background, and the way chosen by that. Where most pass, it is faster still to search without the
//! filter for somewhat more, and to check those: the module makes a list of all that passes before it begins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::RedisError;
use crate::client::{Client, Operation};
use crate::search::{Filter, HybridPolicy, Knn, Query, Returned, Row, Rows};

const SEARCH: Operation = Operation::repeatable("search");
const COUNT: Operation = Operation::repeatable("count");

/// How long a count is believed.
const COUNT_TTL: Duration = Duration::from_secs(30);
/// The module counts for at most so long, and does not say when it stopped. What it has not counted by then is many, if so large a share was.
const COUNT_TIMEOUT: Duration = Duration::from_millis(20);
const LARGE: f64 = 0.03;
/// Filters whose counts are remembered.
const MAX_COUNTS: usize = 1_024;
/// The most searches for one answer, each for twice as many as the one before.
const MAX_ROUNDS: u32 = 5;

/// What visiting a node of the graph costs, in comparisons of a vector whose item is known to pass.
const GRAPH_STEP: f64 = 5.0;
/// Without the filter, at most so many times as many as are wanted are looked at, and somewhat more than should do. The share of the latest that
/// passed counts so much among those before.
const MOST_TIMES: f64 = 4.0;
/// What too many to be counted are taken for, until some were looked at.
const MANY: f64 = 0.5;
const SPARE: f64 = 1.1;
const LATEST: f64 = 0.2;

/// How many items there are and how many of them pass a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selectivity {
    /// All that are indexed.
    pub documents: u64,
    /// Those that pass; at least so many if [`Selectivity::at_least`].
    pub passing: u64,
    /// Whether counting took too long, so that there are more.
    pub at_least: bool,
}

impl Selectivity {
    /// The faster way to the `k` nearest. Comparing all that pass takes N·s comparisons, N being the items and s the share that passes. The
    /// graph is left after about k/s steps. So all are compared where s² < (cost of a step)·k/N.
    pub fn policy(self, k: usize) -> HybridPolicy {
        if self.at_least {
            return HybridPolicy::Batches;
        }
        let graph = GRAPH_STEP * k as f64 / self.share().max(f64::MIN_POSITIVE);
        if (self.passing as f64) < graph { HybridPolicy::AdhocBruteForce } else { HybridPolicy::Batches }
    }
}

impl Selectivity {
    /// The share that passes, or passes at least.
    pub fn share(self) -> f64 {
        self.passing as f64 / self.documents.max(1) as f64
    }
}

/// How many candidates a graph search for `k` keeps. Of 10,000 factors in groups, 200 for the 50 nearest found 0.988 of them and 400 found
/// 0.999, at about half again the time. `least` sees to the first ones; half as many again as are wanted see to the last of many.
fn candidates(k: usize, least: usize) -> usize {
    least.max(k.saturating_add(k / 2))
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    counted: Option<Selectivity>,
    /// The share that passed of what was found without the filter: of what is near to users, and not of everything.
    observed: Option<f64>,
    until: Instant,
}

impl Counted {
    /// What is known, and the share that was observed to pass, which tells more of what could not be counted.
    fn selectivity(self) -> Option<(Selectivity, Option<f64>)> {
        let counted = self.counted?;
        let passing = |share: f64| (share * counted.documents as f64) as u64;
        let selectivity = match self.observed {
            Some(share) if counted.at_least => {
                Selectivity { passing: counted.passing.max(passing(share)), at_least: false, ..counted }
            }
            _ => counted,
        };
        Some((selectivity, self.observed))
    }
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// The query vector, encoded by [`crate::VectorFormat::query`].
    pub vector: Vec<u8>,
    /// How many.
    pub k: usize,
    /// Among which.
    pub filter: Filter,
    /// With which fields.
    pub returned: Returned,
    /// Whether so many are asked for that it takes longer than searches usually do.
    pub costly: bool,
}

/// Searches one index or alias, and remembers how selective its filters are. Clones share what is remembered.
#[derive(Clone)]
pub struct KnnSearch {
    client: Client,
    index: String,
    documents: u64,
    graph: bool,
    ef_runtime: usize,
    counts: Arc<Mutex<HashMap<Filter, Counted>>>,
}

impl KnnSearch {
    /// In the index or alias of this name, which has about so many items. (Redis tells how many, but walks the index for that while others wait.)
    pub fn new(client: Client, index: impl Into<String>, documents: u64) -> Self {
        let index_config = &client.config().index;
        let (graph, ef_runtime) =
            (index_config.kind == tastemaker_config::RedisIndexKind::Hnsw, index_config.ef_runtime);
        Self { client, index: index.into(), documents, graph, ef_runtime, counts: Arc::default() }
    }

    /// Keeping at least so many candidates while it walks the graph; see [`crate::publish::Verified`].
    pub fn with_ef_runtime(self, ef_runtime: usize) -> Self {
        Self { ef_runtime: ef_runtime.max(self.ef_runtime), ..self }
    }

    /// The nearest items, at most `nearest.k` of them, the nearest first. What the module has found when the time is over is what there is.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn nearest(&self, nearest: &Nearest) -> Result<Rows, RedisError> {
        self.search(nearest, nearest.k).await
    }

    /// The nearest items for which `keep` holds too, for conditions that the index cannot check: when too few of what was found are kept,
    /// twice as many are searched for.
    ///
    /// # Errors
    /// [`RedisError`], and what `keep` fails with.
    pub async fn nearest_kept<E: From<RedisError>>(
        &self,
        nearest: &Nearest,
        mut keep: impl FnMut(&[Row]) -> Result<Vec<bool>, E>,
    ) -> Result<Rows, E> {
        let mut k = nearest.k.saturating_mul(2);
        for round in 1.. {
            let mut found = self.search(nearest, k).await?;
            let all = found.rows.len() < k || found.partial;
            let kept = keep(&found.rows)?;
            let mut kept = kept.into_iter();
            found.rows.retain(|_| kept.next().unwrap_or(false));
            if all || found.rows.len() >= nearest.k || round >= MAX_ROUNDS {
                found.rows.truncate(nearest.k);
                return Ok(found);
            }
            k = k.saturating_mul(2);
        }
        Ok(Rows::default())
    }

    /// How many of the nearest to ask for without the filter, so that about `k` of them pass it; none if filtering in Redis is faster, or
    /// nothing is known of the filter. Whoever goes by that checks the items, and [tells](Self::observe) how many passed.
    pub fn unfiltered(&self, filter: &Filter, k: usize) -> Option<usize> {
        if filter.is_all() || !self.graph {
            return None;
        }
        let (selectivity, observed) = self.known(filter)?;
        if selectivity.policy(k) == HybridPolicy::AdhocBruteForce {
            return None;
        }
        let guess = if selectivity.at_least { selectivity.share().max(MANY) } else { selectivity.share() };
        let times = SPARE / observed.unwrap_or(guess);
        (times <= MOST_TIMES).then(|| (k as f64 * times).ceil() as usize)
    }

    /// That so many `passed` a filter, of the nearest that were looked at without it.
    pub fn observe(&self, filter: &Filter, passed: usize, looked_at: usize) {
        let mut counts = self.counts.lock();
        if let Some(counted) = counts.get_mut(filter).filter(|_| looked_at > 0) {
            let share = passed as f64 / looked_at as f64;
            let before = counted.observed.unwrap_or(share);
            counted.observed = Some(before + LATEST * (share - before));
        }
    }

    async fn search(&self, nearest: &Nearest, k: usize) -> Result<Rows, RedisError> {
        let policy = if nearest.filter.is_all() || !self.graph {
            None
        } else {
            self.known(&nearest.filter).map(|(selectivity, _)| selectivity.policy(k))
        };
        let ef_runtime = self.graph.then(|| candidates(k, self.ef_runtime));
        let knn = Knn { k, vector: nearest.vector.clone(), policy, ef_runtime };
        let mut query = Query::nearest(&*self.index, nearest.filter.clone(), knn, nearest.returned.clone());
        let operation = if nearest.costly { SEARCH.costly() } else { SEARCH };
        query.timeout = Some(self.client.deadline(operation));
        self.client.search(operation, &query).await
    }

    /// What is remembered of a filter, and the share that was observed to pass. If that is nothing, or old, it is counted in the background.
    fn known(&self, filter: &Filter) -> Option<(Selectivity, Option<f64>)> {
        let now = Instant::now();
        let mut counts = self.counts.lock();
        let known = counts.get(filter).copied();
        match known {
            Some(counted) if counted.until > now => return counted.selectivity(),
            _ if counts.len() >= MAX_COUNTS && known.is_none() => {
                counts.retain(|_, counted| counted.until > now);
                if counts.len() >= MAX_COUNTS {
                    return None;
                }
            }
            _ => {}
        }
        // Nobody else counts it in the meantime, and after a failure not at once again.
        let until = now + COUNT_TTL / 10;
        let again = known.map_or(Counted { counted: None, observed: None, until }, |known| Counted { until, ..known });
        counts.insert(filter.clone(), again);
        drop(counts);
        let (search, filter) = (self.clone(), filter.clone());
        tokio::spawn(async move {
            if let Err(error) = search.count(&filter).await {
                tracing::debug!(%error, "the items that pass a filter were not counted");
            }
        });
        again.selectivity()
    }

    /// Counts what passes a filter, and remembers it.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn count(&self, filter: &Filter) -> Result<Selectivity, RedisError> {
        let mut query = Query::count(&*self.index, filter.clone());
        query.timeout = Some(COUNT_TIMEOUT);
        let (documents, began) = (self.documents, Instant::now());
        let selectivity = match self.client.search(COUNT, &query).await {
            Ok(rows) => {
                let counted = Selectivity { documents, passing: rows.total, at_least: rows.partial };
                let stopped = began.elapsed() >= COUNT_TIMEOUT && rows.total < documents && counted.share() >= LARGE;
                Selectivity { at_least: rows.partial || stopped, ..counted }
            }
            // A server that is told to fail when the time is over.
            Err(RedisError::Refused { message, .. }) if message.to_ascii_lowercase().contains("timeout") => {
                Selectivity { documents, passing: documents, at_least: true }
            }
            Err(error) => return Err(error),
        };
        let until = Instant::now() + COUNT_TTL;
        self.counts.lock().insert(filter.clone(), Counted { counted: Some(selectivity), observed: None, until });
        Ok(selectivity)
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_config::RedisConfig;

    use super::*;

    #[tokio::test]
    async fn what_most_pass_is_checked_afterwards_as_far_as_that_pays() {
        let client = Client::open("redis://127.0.0.1:1", &RedisConfig::default(), Arc::new(())).unwrap();
        let search = KnnSearch::new(client, "idx", 100_000);
        let filter = |passing: u64, at_least: bool| {
            let filter = Filter { text: format!("{passing} {at_least}"), params: Vec::new() };
            let counted = Some(Selectivity { documents: 100_000, passing, at_least });
            let counted = Counted { counted, observed: None, until: Instant::now() + COUNT_TTL };
            search.counts.lock().insert(filter.clone(), counted);
            filter
        };
        assert_eq!(search.unfiltered(&Filter::all(), 100), None);
        assert_eq!(search.unfiltered(&filter(90_000, false), 100), Some(123));
        assert_eq!(search.unfiltered(&filter(20_000, false), 100), None, "it would take more than four times as many");
        assert_eq!(search.unfiltered(&filter(50_000, false), 10_000), None, "all that pass are compared");
        let many = filter(7, true);
        assert_eq!(search.unfiltered(&many, 100), Some(221), "too many to be counted");
        search.observe(&many, 44, 221);
        assert_eq!(search.unfiltered(&many, 100), None, "they were fewer");
        for _ in 0..20 {
            search.observe(&many, 221, 221);
        }
        assert!(search.unfiltered(&many, 100).is_some_and(|more| (110..115).contains(&more)));
    }

    #[test]
    fn a_search_keeps_more_candidates_than_it_wants_within_a_bound() {
        let kept = [10, 200, 1_000, 5_000].map(|k| candidates(k, 400));
        assert_eq!(kept, [400, 400, 1_500, 7_500]);
        assert_eq!(candidates(usize::MAX, 1), usize::MAX);
    }

    #[test]
    fn few_are_compared_one_by_one_and_many_by_the_graph() {
        let policy = |passing| Selectivity { documents: 100_000, passing, at_least: false }.policy(100);
        assert_eq!(policy(0), HybridPolicy::AdhocBruteForce);
        assert_eq!(policy(3_000), HybridPolicy::AdhocBruteForce);
        assert_eq!(policy(50_000), HybridPolicy::Batches);
        let uncounted = Selectivity { documents: 100_000, passing: 10, at_least: true };
        assert_eq!(uncounted.policy(100), HybridPolicy::Batches);
    }
}
