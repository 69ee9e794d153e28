//! What every request needs and no user changes: the model, and the popular and new items with their attributes as of some seconds ago. It is read
//! from Redis in the background, tells a request which items to look at, and is what there is to answer from when Redis is gone.

use std::collections::HashMap;
use std::sync::Arc;

use tastemaker_features::PortableRankings;
use tastemaker_recommend::World;
use tastemaker_redis::{Client, KnnSearch, Operation, Value, cmd};
use tastemaker_types::Timestamp;

use crate::RemoteError;
use crate::items::Items;
use crate::load::{Item, Worlds};
use crate::meta::{Meta, PUBLISHED};
use crate::model::{Models, PublishedModel};
use crate::publish::ef_runtime;

const READ: Operation = Operation::repeatable("read_base").bulk();
/// Items read at once.
const STEP: usize = 512;
/// Of the items that are known, so many are read again each time, in turn.
const AGAIN: usize = 2_048;

/// A model and the index of its vectors: they go together.
pub(crate) struct Serving {
    pub(crate) model: PublishedModel,
    pub(crate) search: KnnSearch,
}

/// One state of it.
pub(crate) struct Base {
    pub(crate) meta: Meta,
    pub(crate) serving: Option<Arc<Serving>>,
    pub(crate) rankings: Arc<PortableRankings>,
    /// The listed items, without users.
    pub(crate) world: World,
    /// Why there is no model, or that of another generation, though one is published.
    pub(crate) missing_model: Option<String>,
    items: Arc<HashMap<String, Arc<Item>>>,
    /// Where reading again goes on.
    next: usize,
}

impl Base {
    /// Before anything was read.
    pub(crate) fn empty(worlds: &Worlds) -> Self {
        let rankings = Arc::new(PortableRankings::default());
        let world = worlds.of(&[], Vec::new(), &rankings, None, Timestamp::now());
        let (meta, items) = (Meta::default(), Arc::default());
        Self { meta, serving: None, rankings, world, missing_model: None, items, next: 0 }
    }

    /// What there is now; none if that is less than what is known. Items are read only if popular and new ones are to be `listed`.
    pub(crate) async fn refreshed(
        &self,
        meta: Meta,
        client: &Client,
        items_by_id: &Items,
        worlds: &Arc<Worlds>,
        models: &Models,
        listed: bool,
    ) -> Result<Option<Self>, RemoteError> {
        // A Redis that lost its data has nothing to say: what was known stays.
        if !meta.whole && self.meta.whole {
            return Ok(None);
        }
        let (serving, missing_model) = self.serving(&meta, client, models).await;
        let rankings = if meta.rankings_at == self.meta.rankings_at {
            Arc::clone(&self.rankings)
        } else {
            Arc::new(read_rankings(client).await?)
        };
        if !listed {
            let (world, items) = (self.world.clone(), Arc::default());
            return Ok(Some(Self { meta, serving, rankings, world, missing_model, items, next: 0 }));
        }
        let mut items = HashMap::with_capacity(self.items.len());
        let mut wanted: Vec<&str> = Vec::new();
        for id in rankings.ids() {
            match self.items.get(id) {
                Some(known) => drop(items.insert(id.to_owned(), Arc::clone(known))),
                None => wanted.push(id),
            }
        }
        // Attributes change without rankings changing: some are read anew each time.
        let mut known: Vec<&str> = rankings.ids().filter(|id| self.items.contains_key(*id)).collect();
        known.dedup();
        let from = if self.next >= known.len() { 0 } else { self.next };
        let again = known.iter().skip(from).take(AGAIN).copied();
        wanted.extend(again);
        for ids in wanted.chunks(STEP) {
            for (id, item) in ids.iter().zip(items_by_id.read(READ, ids).await?) {
                match item {
                    Some(item) => drop(items.insert((*id).to_owned(), item)),
                    None => drop(items.remove(*id)),
                }
            }
        }
        let (items, next) = (Arc::new(items), from + AGAIN);
        // So many items take a while.
        let (worlds, of, by, model) = (Arc::clone(worlds), Arc::clone(&items), Arc::clone(&rankings), serving.clone());
        let made = tokio::task::spawn_blocking(move || {
            let model = model.as_ref().map(|serving| &serving.model);
            worlds.of(&of.values().cloned().collect::<Vec<_>>(), Vec::new(), &by, model, Timestamp::now())
        });
        let Ok(world) = made.await else { return Ok(None) };
        Ok(Some(Self { meta, serving, rankings, world, missing_model, items, next }))
    }

    async fn serving(&self, meta: &Meta, client: &Client, models: &Models) -> (Option<Arc<Serving>>, Option<String>) {
        let Some(version) = meta.generation else { return (None, None) };
        let same = |serving: &&Arc<Serving>| serving.model.model().manifest().version.0 == version;
        if let Some(known) = self.serving.as_ref().filter(same) {
            return (Some(Arc::clone(known)), None);
        }
        match load(client, models, version).await {
            Ok(serving) => (Some(Arc::new(serving)), None),
            // The one before still serves; its index stays for a while.
            Err(error) => match &self.serving {
                Some(known) => (Some(Arc::clone(known)), Some(error.to_string())),
                None => (newest_there(client, models).await.map(Arc::new), Some(error.to_string())),
            },
        }
    }
}

async fn load(client: &Client, models: &Models, version: u64) -> Result<Serving, RemoteError> {
    let breadth = ef_runtime(client, version).await?.unwrap_or_default();
    let loading = models.clone();
    let model =
        tokio::task::spawn_blocking(move || loading.load(version)).await.map_err(|_| RemoteError::NotWhole)??;
    let index = client.layout().index(&model.name());
    let search = KnnSearch::new(client.clone(), index, model.model().len() as u64).with_ef_runtime(breadth);
    Ok(Serving { model, search })
}

/// Of the generations that Redis has, the newest whose files are here.
async fn newest_there(client: &Client, models: &Models) -> Option<Serving> {
    let mut published = Meta::of_generations(client, PUBLISHED).await.ok()?;
    published.sort_unstable();
    while let Some((version, _)) = published.pop() {
        if let Ok(serving) = load(client, models, version).await {
            return Some(serving);
        }
    }
    None
}

async fn read_rankings(client: &Client) -> Result<PortableRankings, RemoteError> {
    let mut get = cmd("GET");
    get.arg(client.layout().rankings());
    let Value::BulkString(bytes) = client.call(READ, &get).await? else { return Ok(PortableRankings::default()) };
    // So many ids take a while.
    let decoded = tokio::task::spawn_blocking(move || PortableRankings::decode(&bytes)).await;
    match decoded {
        Ok(Ok(rankings)) => Ok(rankings),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the rankings in Redis cannot be read");
            Ok(PortableRankings::default())
        }
        Err(_) => Err(RemoteError::NotWhole),
    }
}
