//! Items by id, through a bounded tier in the process: Redis tells what was written, and that is forgotten here. Only while it can be heard is
//! anything remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tastemaker_config::{Config, Entity};
use tastemaker_features::set::FeatureSet;
use tastemaker_redis::layout::STATE;
use tastemaker_redis::search::{Returned, Row};
use tastemaker_redis::{Client, Operation, Pipeline, Told, Tracker, Value};
use tastemaker_types::AttributeSchema;
use xxhash_rust::xxh3::xxh3_64;

use crate::RemoteError;
use crate::load::Item;
use crate::meta::{ask_whole, check_whole, definitions};
use crate::row::{ItemRow, ROW};

/// When items changed is noted in so many places; two items that share one are only read once more than need be.
const PLACES: usize = 4_096;
/// The share of what searches find that has to be remembered, in 1,024ths, for ids to be all that is asked for.
const WARM: u32 = 768;
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

/// An item counts as one, and a large one as several.
#[derive(Debug, Clone, Copy)]
struct Kibibytes;

impl Weighter<Box<str>, Known> for Kibibytes {
    fn weight(&self, _: &Box<str>, known: &Known) -> u64 {
        1 + u64::from(known.bytes) / 1_024
    }
}

/// The tier, and what is behind it.
pub struct Items {
    client: Client,
    attributes: AttributeSchema,
    /// The fields that are read of an item.
    fields: &'static [&'static str],
    definitions: Arc<str>,
    /// Also that there is no such item.
    known: Cache<Box<str>, Known, Kibibytes>,
    /// Rises with every change.
    clock: AtomicU64,
    /// When an item of each place changed last.
    changed: Box<[AtomicU64]>,
    /// When everything did.
    all_changed: AtomicU64,
    listening: AtomicBool,
    /// The share of what searches found lately that was remembered, in 1,024ths.
    warmth: AtomicU32,
    hits: AtomicU64,
    misses: AtomicU64,
    found: AtomicU64,
}

impl Items {
    /// Nothing is remembered before [`listen`](Self::listen).
    pub fn new(client: Client, config: &Config, features: &FeatureSet) -> Self {
        let room = client.config().cached_items;
        Self {
            known: Cache::with_weighter(usize::try_from(room).unwrap_or(usize::MAX), room, Kibibytes),
            client,
            attributes: config.items.schema(),
            fields: if features.remembers(Entity::Item) { &[ROW, STATE] } else { &[ROW] },
            definitions: definitions(config, features),
            clock: AtomicU64::default(),
            changed: std::iter::repeat_with(AtomicU64::default).take(PLACES).collect(),
            all_changed: AtomicU64::default(),
            listening: AtomicBool::new(false),
            warmth: AtomicU32::default(),
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
    pub(crate) async fn read(&self, operation: Operation, ids: &[&str]) -> Result<Vec<Option<Arc<Item>>>, RemoteError> {
        let since = self.now();
        let mut items = vec![None; ids.len()];
        let mut missing = Vec::new();
        for (place, id) in ids.iter().enumerate() {
            match self.remembered(id) {
                Some(item) => items[place] = item,
                None => missing.push((place, *id)),
            }
        }
        self.count(ids.len(), missing.len());
        if missing.is_empty() {
            return Ok(items);
        }
        let mut pipeline = Pipeline::with_capacity(missing.len() + 1);
        ask_whole(&mut pipeline, &self.client);
        for (_, id) in &missing {
            pipeline.cmd("HMGET").arg(self.client.layout().item(id)).arg(self.fields);
        }
        let mut answers = self.client.pipeline(operation, &pipeline).await?.into_iter();
        check_whole(answers.next(), &self.definitions)?;
        for ((place, id), answer) in missing.into_iter().zip(answers) {
            let values = if let Value::Array(values) = answer? { values } else { Vec::new() };
            let mut values = values.into_iter().map(|value| match value {
                Value::BulkString(bytes) => Some(bytes),
                _ => None,
            });
            let (row, state) = (values.next().flatten(), values.next().flatten());
            items[place] = self.read_now(id, row.as_deref(), state, since);
        }
        Ok(items)
    }

    /// What a search for items should return: where nearly all are remembered, the others are read faster afterwards.
    pub(crate) fn returned(&self) -> Returned {
        if self.listening.load(Ordering::SeqCst) && self.warmth.load(Ordering::Relaxed) >= WARM {
            Returned::Order
        } else {
            Returned::Fields(self.fields.iter().map(|field| (*field).to_owned()).collect())
        }
    }

    /// The items of rows that a search gave [since](Self::now), as it was told to [return](Self::returned) them.
    pub(crate) async fn of_rows(
        &self,
        operation: Operation,
        rows: &[Row],
        returned: &Returned,
        since: u64,
    ) -> Result<Vec<Arc<Item>>, RemoteError> {
        let known: Vec<_> = rows.iter().map(|row| self.remembered(&row.id)).collect();
        let misses = known.iter().filter(|known| known.is_none()).count();
        self.warm(rows.len(), misses);
        if *returned == Returned::Order {
            let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            return Ok(self.read(operation, &ids).await?.into_iter().flatten().collect());
        }
        self.count(rows.len(), misses);
        let items = rows.iter().zip(known).filter_map(|(row, known)| {
            known.unwrap_or_else(|| self.read_now(&row.id, row.field(ROW), row.field(STATE).map(<[u8]>::to_vec), since))
        });
        Ok(items.collect())
    }

    /// Before anything is read that is to be remembered.
    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// An item, or that there is none; nothing where that is not known.
    fn remembered(&self, id: &str) -> Option<Option<Arc<Item>>> {
        self.known.get(id).filter(|_| self.listening.load(Ordering::SeqCst)).map(|known| known.item)
    }

    /// What Redis said of an item, which is remembered.
    fn read_now(&self, id: &str, row: Option<&[u8]>, state: Option<Vec<u8>>, since: u64) -> Option<Arc<Item>> {
        let bytes = row.map_or(0, <[u8]>::len) + state.as_ref().map_or(0, Vec::len);
        let row = row.and_then(|row| ItemRow::decode(&self.attributes, row));
        let item = row.map(|row| Arc::new(Item::new(id, row, state)));
        self.found.fetch_add(u64::from(item.is_some()), Ordering::Relaxed);
        self.remember(id, item.clone(), u32::try_from(bytes).unwrap_or(u32::MAX / 2), since);
        item
    }

    fn count(&self, all: usize, misses: usize) {
        self.hits.fetch_add((all - misses) as u64, Ordering::Relaxed);
        self.misses.fetch_add(misses as u64, Ordering::Relaxed);
    }

    fn warm(&self, all: usize, misses: usize) {
        if let Some(share) = (1_024 * (all - misses)).checked_div(all) {
            let before = self.warmth.load(Ordering::Relaxed);
            self.warmth.store((7 * before + share as u32).div_ceil(8), Ordering::Relaxed);
        }
    }

    /// How often items were there until now.
    pub fn stats(&self) -> TierStats {
        let [hits, misses, found] = [&self.hits, &self.misses, &self.found].map(|count| count.load(Ordering::Relaxed));
        TierStats { hits, misses, found }
    }

    /// Forgets an item that was written.
    pub(crate) fn forget(&self, id: &str) {
        self.place(id).fetch_max(self.tick(), Ordering::SeqCst);
        self.known.remove(id);
    }

    fn forget_all(&self) {
        self.all_changed.fetch_max(self.tick(), Ordering::SeqCst);
        self.known.clear();
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Remembers what was read since then, unless it has changed after that.
    fn remember(&self, id: &str, item: Option<Arc<Item>>, bytes: u32, since: u64) {
        if !self.listening.load(Ordering::SeqCst) || self.has_changed(id, since) {
            return;
        }
        self.known.insert(id.into(), Known { item, bytes });
        // Whoever forgets notes the change first: either that is seen here, or this is forgotten there.
        if self.has_changed(id, since) {
            self.known.remove(id);
        }
    }

    fn has_changed(&self, id: &str, since: u64) -> bool {
        self.all_changed.load(Ordering::SeqCst).max(self.place(id).load(Ordering::SeqCst)) > since
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]
    fn place(&self, id: &str) -> &AtomicU64 {
        &self.changed[xxh3_64(id.as_bytes()) as usize % PLACES]
    }
}
