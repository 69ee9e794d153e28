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
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, Position, Record, Timestamp, Window};

use crate::EngineError;
use crate::ingest::Rules;

pub use feature_list::list_features;
pub(crate) use features::{BYTES_PER_VALUE, cells};
pub use features::{FeaturesRequest, OnlineFeatures};
pub(crate) use generations::MODEL;
pub(crate) use items_source::check as check_items_source;

/// Answers are on disk after this long, on the slowest of disks.
const ON_DISK_WITHIN: Window = Window::from_millis(10_000);

/// How a project is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the one writer of its log; fails while another has it.
    ReadWrite,
    /// Beside a running server or alone; sees the log as it is at that moment.
    ReadOnly,
}

/// A project opened: its log, its state, its models. Shared by reference among any number of threads.
pub struct Engine {
    config: Arc<Config>,
    rules: Rules,
    catalog: Arc<Catalog>,
    state: Arc<OnlineState>,
    recommender: Recommender,
    generations: GenerationStore,
    /// Held while a generation is loaded and installed, so that two switches cannot cross.
    switching: Mutex<()>,
    refused: Mutex<Option<generations::Refusal>>,
    log: RwLock<Option<EventLog>>,
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
        let log = match access {
            Access::ReadWrite => Some(open_log(&config, &state)?),
            Access::ReadOnly => None,
        };
        let reader = match &log {
            Some(log) => Some(log.reader()),
            None => match LogReader::open(config.storage.log_dir()) {
                Ok(reader) => Some(reader),
                // A project without a log is an empty one.
                Err(LogError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        if let Some(reader) = reader {
            let took = replay::replay(&reader, &state)?;
            monitor.set(&metrics::REPLAY_SECONDS, [], took.as_secs_f64());
        }
        // So that an increase is seen from the first failure on.
        for reason in ["full", "failed"] {
            monitor.count_to(&metrics::LOG_WRITE_FAILURES, [reason], 0);
        }
        let recommender = Recommender::new(&config, Arc::clone(&catalog), Arc::clone(&state))?;
        let engine = Self {
            rules: Rules::new(Arc::clone(&config)),
            generations: GenerationStore::open(config.storage.generations_dir()),
            config,
            catalog,
            state,
            recommender,
            switching: Mutex::new(()),
            refused: Mutex::new(None),
            log: RwLock::new(log),
            items_source: OnceLock::new(),
            monitor,
        };
        engine.reload_if_promoted();
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
        let log = log.as_ref().ok_or(EngineError::ReadOnly)?;
        Ok(PendingWrite { since: Instant::now(), done: Box::pin(log.append_async(records)) })
    }

    /// The attributes of an item that exists.
    pub fn item(&self, id: &str) -> Option<Attributes> {
        let catalog = self.catalog.snapshot();
        let row = catalog.row(id).filter(|row| catalog.alive(*row))?;
        Some(catalog.attributes(row))
    }

    /// The attributes of a user that has any, or has done something.
    pub fn user(&self, id: &str) -> Option<Attributes> {
        self.state.user(id, Timestamp::now()).map(|user| user.attributes)
    }

    /// A page of items in the order in which they were first met, from the row that the cursor names, and the cursor of the next.
    pub fn items_page(&self, from: u32, limit: usize) -> (Vec<(String, Attributes)>, Option<String>) {
        let catalog = self.catalog.snapshot();
        let mut alive = (from..catalog.len() as u32).filter(|row| catalog.alive(*row));
        let entity = |row| Some((catalog.id(row)?.to_string(), catalog.attributes(row)));
        let page = alive.by_ref().take(limit).filter_map(entity).collect();
        (page, alive.next().map(|row| row.to_string()))
    }

    /// A page of users in the order of their ids, and the cursor of the next.
    pub fn users_page(&self, cursor: Option<&str>, limit: usize) -> (Vec<(String, Attributes)>, Option<String>) {
        let mut ids = self.state.user_ids_after(cursor, limit + 1);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).cloned();
        // A user forgotten since then is left out.
        let page = ids.into_iter().filter_map(|id| self.user(&id).map(|attributes| (id, attributes))).collect();
        (page, next)
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
                engine.reload_if_promoted();
            }),
            every(Duration::from_secs(1), |engine| engine.state.refresh(Timestamp::now())),
            every(Duration::from_secs(5), |engine| engine.monitor.upkeep()),
        ];
        if let Some(period) = self.config.recommend.validate_every {
            tasks.push(every(period.to_duration(), |engine| {
                // Twice the period and the time until an answer is on disk: a run takes its time, and an answer that is compared twice does
                // no harm.
                let period = engine.config.recommend.validate_every.unwrap_or_default();
                engine.validate_features(Timestamp::now().minus(period).minus(period).minus(ON_DISK_WITHIN));
            }));
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
}

impl PendingWrite {
    /// Done when they are on disk and applied.
    pub(crate) async fn wait(self, monitor: &Monitor) -> Result<Vec<Appended>, EngineError> {
        let outcome = self.done.await;
        match &outcome {
            Ok(_) => monitor.observe(&metrics::LOG_COMMIT_SECONDS, [], self.since.elapsed()),
            Err(LogError::DiskFull { .. }) => monitor.count(&metrics::LOG_WRITE_FAILURES, ["full"], 1),
            Err(_) => monitor.count(&metrics::LOG_WRITE_FAILURES, ["failed"], 1),
        }
        Ok(outcome?)
    }
}

fn open_log(config: &Config, state: &Arc<OnlineState>) -> Result<EventLog, EngineError> {
    let options = LogOptions {
        segment_bytes: config.storage.segment_size.bytes(),
        max_call_records: config.server.batch_limit.max(1),
        ..LogOptions::default()
    };
    let state = Arc::clone(state);
    let apply = move |records: &[(Position, Record)]| state.apply(records);
    Ok(EventLog::open(config.storage.log_dir(), options, Box::new(apply))?)
}
