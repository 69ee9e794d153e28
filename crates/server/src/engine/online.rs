//! Serving from Redis: the server with the log follows it there, every server answers from there, and where Redis does not answer, from what is in
//! the process.

use std::sync::Arc;
use std::time::Duration;

use tastemaker_api::OnlineHealth;
use tastemaker_artifacts::GenerationStore;
use tastemaker_config::Config;
use tastemaker_features::OnlineState;
use tastemaker_log::LogReader;
use tastemaker_monitor::{Monitor, catalogue as metrics};
use tastemaker_recommend::Recommender;
use tastemaker_redis::{BreakerState, Client, Observer, RedisError, ServerHealth, Tracker};
use tastemaker_remote::{Follower, Items, Models, Remote, RemoteError, TierStats};
use tastemaker_store::Catalog;

use super::{Access, Engine};
use crate::EngineError;

/// Between two looks at how Redis is.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// So many looks at Redis go by between two at its index, which Redis walks while everyone waits.
const INDEX_EVERY: u32 = 120;

/// The Redis of a project.
pub(super) struct Online {
    client: Client,
    remote: Arc<Remote>,
    items: Arc<Items>,
    tracker: Arc<Tracker>,
    /// On the server that has the log.
    follower: Option<Arc<Follower>>,
    monitor: Arc<Monitor>,
}

/// What a project is in this process.
pub(super) struct Here<'e> {
    pub(super) config: &'e Config,
    pub(super) catalog: &'e Arc<Catalog>,
    pub(super) state: &'e Arc<OnlineState>,
    pub(super) recommender: &'e Arc<Recommender>,
    pub(super) generations: &'e GenerationStore,
    pub(super) monitor: &'e Arc<Monitor>,
}

impl Online {
    /// The Redis at `url`; with a log, it is followed. Nothing is connected yet.
    pub(super) fn open(url: &str, here: &Here<'_>, log: Option<LogReader>) -> Result<Self, EngineError> {
        let monitor = Arc::clone(here.monitor);
        let observer = Arc::new(Measured(Arc::clone(&monitor)));
        let client = Client::open(url, &here.config.redis, observer).map_err(RemoteError::from)?;
        let models = Models::new(here.generations.clone());
        let (catalog, state) = (Arc::clone(here.catalog), Arc::clone(here.state));
        let features = Arc::clone(here.state.features());
        let tracker = Tracker::open(url, client.clone(), client.layout().item_prefix()).map_err(RemoteError::from)?;
        let items = Arc::new(Items::new(client.clone(), here.config, here.state.features()));
        let follower = log.map(|log| {
            let follower = Follower::new(client.clone(), here.config, catalog, state, models.clone(), log);
            Arc::new(follower.telling(Arc::clone(&items)))
        });
        let within = {
            let monitor = Arc::clone(&monitor);
            Box::new(move |work: &mut dyn FnMut()| monitor.within(work))
        };
        let recommender = Arc::clone(here.recommender);
        let remote =
            Remote::new(here.config, Arc::clone(&items), recommender, features, models, within, follower.is_some());
        Ok(Self { client, remote: Arc::new(remote), items, tracker: Arc::new(tracker), follower, monitor })
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    pub(super) fn follower(&self) -> Option<&Arc<Follower>> {
        self.follower.as_ref()
    }

    /// Starts following, looking and measuring.
    pub(super) fn start(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks = vec![tokio::spawn(Arc::clone(&self.remote).run())];
        if let Some(follower) = &self.follower {
            tasks.push(tokio::spawn(Arc::clone(follower).run()));
            tasks.push(tokio::spawn(Arc::clone(follower).run_publisher()));
        }
        if self.client.config().cached_items > 0 {
            let (items, tracker) = (Arc::clone(&self.items), Arc::clone(&self.tracker));
            tasks.push(tokio::spawn(async move { items.listen(&tracker).await }));
        }
        let online = Arc::clone(self);
        tasks.push(tokio::spawn(async move {
            let (mut before, mut measured) = (None, None);
            for number in 0.. {
                if let Ok(servers) = online.client.health().await {
                    let health = ServerHealth::together(&servers);
                    online.measure(&health, before.as_ref());
                    before = Some(health);
                }
                let published = online.remote.standing().published;
                if online.follower.is_some() && (number % INDEX_EVERY == 0 || published != measured) {
                    online.measure_index().await;
                    measured = published;
                }
                tokio::time::sleep(HEALTH_EVERY).await;
            }
        }));
        tasks
    }

    /// Whether answers can be made, if only from what was known before.
    pub(super) fn has_begun(&self) -> bool {
        self.follower.is_some() || self.remote.has_begun()
    }

    pub(super) fn health(&self) -> OnlineHealth {
        let standing = self.remote.standing();
        let breaker = match self.client.breaker() {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        };
        OnlineHealth {
            breaker: breaker.to_owned(),
            whole: standing.whole,
            generation: standing.published,
            missing_model: standing.missing_model,
            records: standing.log_position.map_or(0, |position| position + 1),
            pending: self.follower.as_ref().map(|follower| follower.lag().pending),
        }
    }

    /// Sets the gauges that are read when someone looks. `appended`: records of the log, where it is here.
    pub(super) fn render(&self, appended: u64) {
        let set = |gauge, value: f64| self.monitor.set(gauge, [], value);
        let standing = self.remote.standing();
        set(&metrics::REDIS_WHOLE, f64::from(u8::from(standing.whole)));
        let TierStats { hits, misses, found } = self.items.stats();
        let (of_process, of_redis) =
            ([("hit", hits), ("miss", misses)], [("hit", found), ("miss", misses.saturating_sub(found))]);
        let of = |cache| move |(result, total)| (cache, result, total);
        for (cache, result, total) in of_process.map(of("items")).into_iter().chain(of_redis.map(of("redis_items"))) {
            self.monitor.count_to(&metrics::CACHE_LOOKUPS, [cache, result], total);
        }
        set(&metrics::REDIS_GENERATION, standing.published.unwrap_or(0) as f64);
        if let Some(follower) = &self.follower {
            let lag = follower.lag();
            set(&metrics::REDIS_PENDING, lag.pending as f64);
            set(&metrics::REDIS_LAG, appended.saturating_sub(lag.written) as f64);
        }
    }

    async fn measure_index(&self) {
        if let Ok(index) = self.client.index_info(&self.client.layout().alias()).await {
            self.monitor.set(&metrics::REDIS_INDEX_DOCUMENTS, [], index.documents as f64);
            self.monitor.set(&metrics::REDIS_INDEX_FAILURES, [], index.failures as f64);
            self.monitor.set(&metrics::REDIS_INDEX_BYTES, [], (index.vector_bytes + index.other_bytes) as f64);
        }
    }

    fn measure(&self, server: &ServerHealth, before: Option<&ServerHealth>) {
        let monitor = &self.monitor;
        let set = |gauge, value: f64| monitor.set(gauge, [], value);
        monitor.count_to(&metrics::REDIS_KEYSPACE, ["hit"], server.hits);
        monitor.count_to(&metrics::REDIS_KEYSPACE, ["miss"], server.misses);
        monitor.count_to(&metrics::REDIS_EVICTED, [], server.evicted_keys);
        monitor.count_to(&metrics::REDIS_EXPIRED, [], server.expired_keys);
        set(&metrics::REDIS_MEMORY_BYTES, server.used_memory as f64);
        set(&metrics::REDIS_MAXMEMORY_BYTES, server.maxmemory as f64);
        set(&metrics::REDIS_FRAGMENTATION, server.fragmentation);
        let evicted = server.evicted_keys.saturating_sub(before.map_or(0, |before| before.evicted_keys));
        if evicted > 0 {
            tracing::error!(
                evicted,
                "Redis throws out keys for want of memory; users and items are state, not cache: raise maxmemory, and run `tastemaker rebuild`"
            );
        }
        if before.is_none() && server.may_evict_state() {
            let policy = &server.maxmemory_policy;
            tracing::warn!(
                policy,
                "Redis may throw out users and items when its memory is full; set maxmemory-policy noeviction"
            );
        }
    }
}

/// What keeps the Redis of a project up to date, from its log as it is now, beside a running server or without one.
///
/// # Errors
/// `storage.online` is not set, or the project cannot be opened.
pub fn follower(config: Arc<Config>) -> Result<Arc<Follower>, EngineError> {
    let Some(url) = config.storage.online.clone() else {
        let what = "this project serves from its own memory; set storage.online, such as redis://127.0.0.1:6379, to serve from Redis";
        return Err(EngineError::Setup { what: what.to_owned() });
    };
    let log = LogReader::open(config.storage.log_dir())?;
    let engine = Engine::open(config, Access::ReadOnly)?;
    let client = Client::open(&url, &engine.config.redis, Arc::new(())).map_err(RemoteError::from)?;
    let models = Models::new(engine.generations.clone());
    let (catalog, state) = (Arc::clone(&engine.catalog), Arc::clone(&engine.state));
    Ok(Arc::new(Follower::new(client, &engine.config, catalog, state, models, log)))
}

/// Commands to Redis as metrics.
struct Measured(Arc<Monitor>);

impl Observer for Measured {
    fn command(&self, operation: &'static str, took: Duration, error: Option<&RedisError>) {
        self.0.observe(&metrics::REDIS_SECONDS, [operation], took);
        if let Some(error) = error {
            self.0.count(&metrics::REDIS_ERRORS, [operation, error.kind()], 1);
        }
    }

    fn retry(&self, operation: &'static str) {
        self.0.count(&metrics::REDIS_RETRIES, [operation], 1);
    }

    fn breaker(&self, state: BreakerState) {
        let open = match state {
            BreakerState::Closed => 0.0,
            BreakerState::Open => 1.0,
            BreakerState::HalfOpen => 0.5,
        };
        self.0.set(&metrics::REDIS_BREAKER, [], open);
    }

    fn connection(&self, error: Option<&RedisError>) {
        let result = if error.is_some() { "failed" } else { "made" };
        self.0.count(&metrics::REDIS_CONNECTIONS, [result], 1);
    }
}
