//! Items by id, through a bounded tier in the process: Redis tells what was written, and that is forgotten here. Only while it can be heard is
//! anything remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tastemaker_config::Config;
use tastemaker_features::set::FeatureSet;
use tastemaker_redis::layout::STATE;
use tastemaker_redis::{Client, Operation, Pipeline, Told, Tracker, Value};
use tastemaker_types::AttributeSchema;
use xxhash_rust::xxh3::xxh3_64;

use crate::RemoteError;
use crate::load::Item;
use crate::meta::{ask_whole, check_whole, definitions};
use crate::row::{ItemRow, ROW};

/// Changes are counted in so many places; two items that share one are only read once more than need be.
const PLACES: usize = 4_096;
/// After Redis could not be heard.
const PAUSE: Duration = Duration::from_secs(1);

/// How often items were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TierStats {
    /// Remembered in the process.
    pub hits: u64,
    /// Not remembered, so that Redis was asked.
    pub misses: u64,
    /// Of those, there in Redis.
    pub found: u64,
}

/// What Redis said of an id.
#[derive(Clone)]
struct Known {
    item: Option<Arc<Item>>,
    /// How much it said.
    bytes: u32,
}

/// The tier, and what is behind it.
pub struct Items {
    client: Client,
    attributes: AttributeSchema,
    definitions: Arc<str>,
    /// Also that there is no such item.
    known: Cache<Box<str>, Known>,
    /// How often items of each place have changed.
    changes: Box<[AtomicU64]>,
    /// How often everything has.
    all_changes: AtomicU64,
    listening: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    found: AtomicU64,
}

impl Items {
    /// Nothing is remembered before [`listen`](Self::listen).
    pub fn new(client: Client, config: &Config, features: &FeatureSet) -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(client.config().cached_items)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(|_, known: &Known| 1 + known.bytes / 1_024)
                .build(),
            client,
            attributes: config.items.schema(),
            definitions: definitions(config, features),
            changes: std::iter::repeat_with(AtomicU64::default).take(PLACES).collect(),
            all_changes: AtomicU64::default(),
            listening: AtomicBool::new(false),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            found: AtomicU64::default(),
        }
    }

    /// Hears what changes, until it is dropped.
    pub async fn listen(&self, tracker: &Tracker) {
        let prefix = self.client.layout().item_prefix().len();
        let told = |told| match told {
            Told::Begun => {
                self.forget_all();
                self.listening.store(true, Ordering::SeqCst);
            }
            Told::Changed(key) => {
                if let Some(id) = key.get(prefix..).and_then(|id| std::str::from_utf8(id).ok()) {
                    self.forget(id);
                }
            }
            Told::AllChanged => self.forget_all(),
        };
        let mut warned = false;
        loop {
            let Err(error) = tracker.run(told).await;
            let listened = self.listening.swap(false, Ordering::SeqCst);
            self.forget_all();
            // A Redis that is away is told of by whoever asks it.
            if !listened && !error.is_transient() && !std::mem::replace(&mut warned, true) {
                tracing::warn!(%error, "Redis does not tell what changes, so that items are not remembered in the process");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What Redis must have been written under.
    pub(crate) fn definitions(&self) -> &str {
        &self.definitions
    }

    /// Items by id, in order; none where there is no such item.
    pub(crate) async fn read(&self, operation: Operation, ids: &[&str]) -> Result<Vec<Option<Item>>, RemoteError> {
        let mut items = vec![None; ids.len()];
        let mut missing = Vec::new();
        let listening = self.listening.load(Ordering::SeqCst);
        for (place, id) in ids.iter().enumerate() {
            match self.known.get(*id).filter(|_| listening) {
                Some(known) => items[place] = known.item.map(|item| Item::clone(&item)),
                None => missing.push((place, *id, self.changes_of(id))),
            }
        }
        self.hits.fetch_add((ids.len() - missing.len()) as u64, Ordering::Relaxed);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        if missing.is_empty() {
            return Ok(items);
        }
        let mut pipeline = Pipeline::with_capacity(missing.len() + 1);
        ask_whole(&mut pipeline, &self.client);
        for (_, id, _) in &missing {
            pipeline.cmd("HMGET").arg(self.client.layout().item(id)).arg(&[ROW, STATE]);
        }
        let mut answers = self.client.pipeline(operation, &pipeline).await?.into_iter();
        check_whole(answers.next(), &self.definitions)?;
        for ((place, id, changes), answer) in missing.into_iter().zip(answers) {
            let answer = answer?;
            let bytes = length(&answer);
            let item = self.of_answer(id, answer);
            self.found.fetch_add(u64::from(item.is_some()), Ordering::Relaxed);
            self.remember(id, item.as_ref(), bytes, changes);
            items[place] = item;
        }
        Ok(items)
    }

    /// An item of its row.
    pub(crate) fn item(&self, id: &str, row: &[u8], state: Option<Vec<u8>>) -> Option<Item> {
        let row = ItemRow::decode(&self.attributes, row)?;
        Some(Item { id: id.to_owned(), row, state })
    }

    /// How often items were there until now.
    pub fn stats(&self) -> TierStats {
        let [hits, misses, found] = [&self.hits, &self.misses, &self.found].map(|count| count.load(Ordering::Relaxed));
        TierStats { hits, misses, found }
    }

    /// Forgets an item that was written.
    pub(crate) fn forget(&self, id: &str) {
        self.place(id).fetch_add(1, Ordering::SeqCst);
        self.known.invalidate(id);
    }

    fn forget_all(&self) {
        self.all_changes.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate_all();
    }

    /// Remembers what was read since `changes`, unless it has changed after that.
    fn remember(&self, id: &str, item: Option<&Item>, bytes: u32, changes: (u64, u64)) {
        if !self.listening.load(Ordering::SeqCst) || self.changes_of(id) != changes {
            return;
        }
        self.known.insert(id.into(), Known { item: item.map(|item| Arc::new(item.clone())), bytes });
        // Whoever forgets counts first: either that is seen here, or this is forgotten there.
        if self.changes_of(id) != changes {
            self.known.invalidate(id);
        }
    }

    fn changes_of(&self, id: &str) -> (u64, u64) {
        (self.all_changes.load(Ordering::SeqCst), self.place(id).load(Ordering::SeqCst))
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
    fn place(&self, id: &str) -> &AtomicU64 {
        &self.changes[xxh3_64(id.as_bytes()) as usize % PLACES]
    }

    fn of_answer(&self, id: &str, answer: Value) -> Option<Item> {
        let Value::Array(values) = answer else { return None };
        let mut values = values.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        });
        let (row, state) = (values.next().flatten()?, values.next().flatten());
        self.item(id, &row, state)
    }
}

fn length(answer: &Value) -> u32 {
    let length = |value: &Value| if let Value::BulkString(bytes) = value { bytes.len() } else { 0 };
    let all = if let Value::Array(values) = answer { values.iter().map(length).sum() } else { 0 };
    u32::try_from(all).unwrap_or(u32::MAX / 2)
}
