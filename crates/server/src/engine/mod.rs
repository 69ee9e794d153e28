//! The engine: a project opened. It replays the log into online state, takes writes, keeps the champion generation
//! installed, and answers. HTTP is one caller, the command line another.
//!
//! Invariant: state is changed by the log's committer alone, in log order, after the records are on disk; so what a
//! restart replays is what was being served.

mod feature_list;
mod features;
mod generations;
mod health;
mod items_source;
mod online;
mod push;
mod recommend;
mod replay;
mod validation;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tastemaker_artifacts::GenerationStore;
use tastemaker_config::Config;
use tastemaker_features::OnlineState;
use tastemaker_features::set::FeatureSet;
use tastemaker_log::{Appended, EventLog, LogError, LogOptions, LogReader};
use tastemaker_monitor::{Monitor, catalogue as metrics};
use tastemaker_recommend::Recommender;
use tastemaker_remote::Follower;
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, Position, Record, Timestamp};

use crate::EngineError;
use crate::ingest::Rules;
use crate::stream::{Consumer, Source};
use online::{Here, Online};

pub use feature_list::list_features;
pub(crate) use features::{BYTES_PER_VALUE, cells};
pub use features::{FeaturesRequest, OnlineFeatures};
pub(crate) use generations::MODEL;
pub(crate) use items_source::check as check_items_source;
pub use online::follower;

/// How a project is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the one writer of its log; fails while another has it. With `storage.online`, answers come from there, and the log is followed into it.
    ReadWrite,
    /// Beside a running server or alone; sees the log as it is at that moment.
    ReadOnly,
    /// Without its log: answers come from `storage.online`.
    Stateless,
}

/// Ids with attributes, and the cursor of the next page.
pub(crate) type Page = (Vec<(String, Attributes)>, Option<String>);

/// A project opened: its log, its state, its models. Shared by reference among any number of threads.
pub struct Engine {
    config: Arc<Config>,
    rules: Rules,
    catalog: Arc<Catalog>,
    state: Arc<OnlineState>,
    recommender: Arc<Recommender>,
    online: Option<Arc<Online>>,
    generations: GenerationStore,
    /// Held while a generation is loaded and installed, so that two switches cannot cross.
    switching: Mutex<()>,
    refused: Mutex<Option<generations::Refusal>>,
    log: RwLock<Option<EventLog>>,
    /// The place in the log up to which served features are validated; held while they are, so that no answer is counted twice.
    validated: Mutex<Position>,
    /// Set once it is followed.
    items_source: OnceLock<Arc<items_source::ItemsSource>>,
    monitor: Arc<Monitor>,
}

impl Engine {
    /// Opens the project: recovers and replays its log, and installs the champion generation. A champion that does not pass
    /// its checks is not an error: the engine then answers without it, and says so in its health.
    ///
    /// # Errors
    /// The log is damaged, or another process has it open for writing; the configuration does not fit together.
    pub fn open(config: Arc<Config>, access: Access) -> Result<Self, EngineError> {
        items_source::check(&config)?;
        let monitor = Arc::new(Monitor::new());
        let catalog = Arc::new(Catalog::new(config.items.schema()));
        let features = Arc::new(FeatureSet::compile(&config)?);
        let options = tastemaker_recommend::state_options(&config);
        let state = Arc::new(OnlineState::with_features(options, Arc::clone(&catalog), features));
        let followed = Arc::new(OnceLock::new());
        if let (Access::ReadWrite, Some(source)) = (access, Source::of(&config)) {
            source.check()?;
        }
        let log = match access {
            Access::ReadWrite => Some(open_log(&config, &state, &followed)?),
            Access::ReadOnly | Access::Stateless => None,
        };
        let reader = match (&log, access) {
            (Some(log), _) => Some(log.reader()),
            (None, Access::Stateless) => None,
            (None, _) => match LogReader::open(config.storage.log_dir()) {
                Ok(reader) => Some(reader),
                // A project without a log is an empty one.
                Err(LogError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let mut end = Position(0);
        if let Some(reader) = &reader {
            end = reader.end()?;
            let took = replay::replay(reader, &state)?;
            monitor.set(&metrics::REPLAY_SECONDS, [], took.as_secs_f64());
        }
        // So that an increase is seen from the first failure on.
        for reason in ["full", "failed"] {
            monitor.count_to(&metrics::LOG_WRITE_FAILURES, [reason], 0);
        }
        let recommender = Arc::new(Recommender::new(&config, Arc::clone(&catalog), Arc::clone(&state))?);
        let generations = GenerationStore::open(config.storage.generations_dir());
        let online = match &config.storage.online {
            Some(url) if access != Access::ReadOnly => {
                let (catalog, state, monitor) = (&catalog, &state, &monitor);
                let (config, recommender, generations) = (&config, &recommender, &generations);
                let here = Here { config, catalog, state, recommender, generations, monitor };
                Some(Arc::new(Online::open(url, &here, reader)?))
            }
            _ => None,
        };
        if let Some(follower) = online.as_ref().and_then(|online| online.follower()) {
            // The log has just been opened, and nobody wrote to it since.
            drop(followed.set(Arc::clone(follower)));
        }
        let engine = Self {
            rules: Rules::new(Arc::clone(&config)),
            generations,
            online,
            config,
            catalog,
            state,
            recommender,
            switching: Mutex::new(()),
            refused: Mutex::new(None),
            log: RwLock::new(log),
            // What was served before was the matter of the process that served it.
            validated: Mutex::new(end),
            items_source: OnceLock::new(),
            monitor,
        };
        if access != Access::Stateless {
            engine.reload_if_promoted();
        }
        engine.state.refresh(Timestamp::now());
        Ok(engine)
    }

    /// The project's settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its items.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Its users and what is popular.
    pub fn state(&self) -> &Arc<OnlineState> {
        &self.state
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Writes records, all or none: done when they are on disk and applied.
    ///
    /// # Errors
    /// Nothing was acknowledged; see [`LogError`].
    pub async fn write(&self, records: Vec<Record>) -> Result<Vec<Appended>, EngineError> {
        self.begin_write(records)?.wait(&self.monitor).await
    }

    /// Encodes and queues records; they are written whether or not the answer is waited for.
    pub(crate) fn begin_write(&self, records: Vec<Record>) -> Result<PendingWrite, EngineError> {
        self.want_items_of(&records);
        let log = self.log.read();
        let log = log.as_ref().ok_or(if self.is_stateless() {
            EngineError::Stateless("send writes to the server that has it")
        } else {
            EngineError::ReadOnly
        })?;
        let follower = self.online.as_ref().and_then(|online| online.follower()).cloned();
        Ok(PendingWrite { since: Instant::now(), done: Box::pin(log.append_async(records)), follower })
    }

    /// Whether it has no log at all.
    pub(crate) fn is_stateless(&self) -> bool {
        self.online.as_ref().is_some_and(|online| online.follower().is_none())
    }

    /// The attributes of an item that exists.
    ///
    /// # Errors
    /// On a stateless server, Redis.
    pub async fn item(&self, id: &str) -> Result<Option<Attributes>, EngineError> {
        if let Some(online) = self.online.as_ref().filter(|_| self.is_stateless()) {
            return Ok(online.remote().item(id).await?);
        }
        Ok(self.item_here(id))
    }

    /// As [`item`](Self::item), of this process's own catalog.
    pub fn item_here(&self, id: &str) -> Option<Attributes> {
        let catalog = self.catalog.snapshot();
        let row = catalog.row(id).filter(|row| catalog.alive(*row))?;
        Some(catalog.attributes(row))
    }

    /// The attributes of a user that has any, or has done something.
    ///
    /// # Errors
    /// On a stateless server, Redis.
    pub async fn user(&self, id: &str) -> Result<Option<Attributes>, EngineError> {
        if let Some(online) = self.online.as_ref().filter(|_| self.is_stateless()) {
            return Ok(online.remote().user_attributes(id).await?);
        }
        Ok(self.user_here(id))
    }

    fn user_here(&self, id: &str) -> Option<Attributes> {
        self.state.user(id, Timestamp::now()).map(|user| user.attributes)
    }

    /// A page of items in the order in which they were first met, from the row that the cursor names, and the cursor of the next.
    ///
    /// # Errors
    /// The server is stateless.
    pub fn items_page(&self, from: u32, limit: usize) -> Result<Page, EngineError> {
        self.check_lists()?;
        let catalog = self.catalog.snapshot();
        let mut alive = (from..catalog.len() as u32).filter(|row| catalog.alive(*row));
        let entity = |row| Some((catalog.id(row)?.to_string(), catalog.attributes(row)));
        let page = alive.by_ref().take(limit).filter_map(entity).collect();
        Ok((page, alive.next().map(|row| row.to_string())))
    }

    /// A page of users in the order of their ids, and the cursor of the next.
    ///
    /// # Errors
    /// The server is stateless.
    pub fn users_page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, EngineError> {
        self.check_lists()?;
        let mut ids = self.state.user_ids_after(cursor, limit + 1);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).cloned();
        // A user forgotten since then is left out.
        let page = ids.into_iter().filter_map(|id| self.user_here(&id).map(|attributes| (id, attributes))).collect();
        Ok((page, next))
    }

    fn check_lists(&self) -> Result<(), EngineError> {
        if self.is_stateless() { Err(EngineError::Stateless("ask the server that has it for lists")) } else { Ok(()) }
    }

    /// Commits what waits to be written and lets go of the log; later writes fail. Reads go on.
    ///
    /// # Errors
    /// The log could not be closed; everything acknowledged is on disk.
    pub fn close(&self) -> Result<(), EngineError> {
        let log = self.log.write().take();
        Ok(log.map_or(Ok(()), EventLog::close)?)
    }

    /// Starts the tasks that keep the engine up to date; they end when the answer is dropped. Needs a runtime.
    ///
    /// # Errors
    /// A setting cannot work.
    pub(crate) fn start_background(self: &Arc<Self>) -> Result<BackgroundTasks, EngineError> {
        let every = |period: Duration, work: fn(&Engine)| {
            let engine = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(period).await;
                    let engine = Arc::clone(&engine);
                    if let Err(error) = tokio::task::spawn_blocking(move || work(&engine)).await {
                        tracing::error!("a background task failed: {error}");
                    }
                }
            })
        };
        let mut tasks = vec![
            every(Duration::from_millis(500), |engine| {
                if !engine.is_stateless() {
                    engine.reload_if_promoted();
                }
            }),
            every(Duration::from_secs(1), |engine| engine.state.refresh(Timestamp::now())),
            every(Duration::from_secs(5), |engine| engine.monitor.upkeep()),
        ];
        if let Some(period) = self.config.recommend.validate_every {
            tasks.push(every(period.to_duration(), Engine::validate_features));
        }
        if let Some(online) = &self.online {
            tasks.extend(online.start());
        }
        if let (true, Some(source)) = (self.log.read().is_some(), Source::of(&self.config)) {
            tasks.push(tokio::spawn(Consumer::new(Arc::clone(self), source).run()));
        }
        tasks.extend(self.start_items_source()?);
        Ok(BackgroundTasks(tasks))
    }
}

/// Tasks that end when this is dropped.
pub(crate) struct BackgroundTasks(Vec<tokio::task::JoinHandle<()>>);

impl Drop for BackgroundTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Records on their way to the disk.
#[must_use = "the records are written, but nobody hears whether that went well"]
pub(crate) struct PendingWrite {
    since: Instant,
    done: BoxFuture<'static, Result<Vec<Appended>, LogError>>,
    follower: Option<Arc<Follower>>,
}

impl PendingWrite {
    /// Done when they are on disk and applied, and, if it answers, in the Redis that is served from.
    pub(crate) async fn wait(self, monitor: &Monitor) -> Result<Vec<Appended>, EngineError> {
        let outcome = self.done.await;
        match &outcome {
            Ok(_) => monitor.observe(&metrics::LOG_COMMIT_SECONDS, [], self.since.elapsed()),
            Err(LogError::DiskFull { .. }) => monitor.count(&metrics::LOG_WRITE_FAILURES, ["full"], 1),
            Err(_) => monitor.count(&metrics::LOG_WRITE_FAILURES, ["failed"], 1),
        }
        let appended = outcome?;
        if let (Some(follower), Some(last)) = (self.follower, appended.iter().map(|appended| appended.position).max()) {
            follower.reached(last).await;
        }
        Ok(appended)
    }
}

fn open_log(
    config: &Config,
    state: &Arc<OnlineState>,
    followed: &Arc<OnceLock<Arc<Follower>>>,
) -> Result<EventLog, EngineError> {
    let options = LogOptions {
        segment_bytes: config.storage.segment_size.bytes(),
        max_call_records: config.server.batch_limit.max(1),
        ..LogOptions::default()
    };
    let (state, followed) = (Arc::clone(state), Arc::clone(followed));
    let apply = move |records: &[(Position, Record)]| {
        state.apply(records);
        if let Some(follower) = followed.get() {
            follower.note(records);
        }
    };
    Ok(EventLog::open(config.storage.log_dir(), options, Box::new(apply))?)
}
