//! Recommendations from what is in Redis.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tastemaker_config::Config;
use tastemaker_expr::Expr;
use tastemaker_features::PortableUser;
use tastemaker_features::set::SharedFeatures;
use tastemaker_recommend::{
    RankRequest, RecommendError, RecommendRequest, Recommendation, Recommender, SimilarRequest, World, state_options,
};
use tastemaker_redis::layout::STATE;
use tastemaker_redis::search::{Filter, Row, Rows};
use tastemaker_redis::{Client, Nearest, Operation, Pipeline, Pushdown, Value, VectorFormat, decode_attributes};
use tastemaker_types::{Attributes, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::RemoteError;
use crate::base::{Base, Serving};
use crate::items::Items;
use crate::load::{Item, Worlds};
use crate::meta::{Meta, ask_whole, check_whole};
use crate::model::Models;
use crate::writes::fold_in;

const USER: Operation = Operation::repeatable("read_user");
const MANY: Operation = Operation::repeatable("read_many").bulk();
const ITEMS: Operation = Operation::repeatable("read_items");
/// More users or items than this take longer than a request for a recommendation may.
const FEW: usize = 200;
/// Between two looks at whether generation or rankings changed.
const REFRESH: Duration = Duration::from_millis(500);
/// The most items that one search asks for.
const MAX_NEAREST: usize = 10_000;
/// More than this is looked for with more time.
const USUAL: usize = 1_000;
/// Answers that may look further than the nearest at once: each takes Redis as long as many others do.
const WIDE: usize = 2;
/// The most of what a user has met that retrieval makes up for.
const MAX_MET: usize = 1_000;
/// How many times as many are looked at where a condition cannot be checked by the search, or where an answer came out short.
const OVERSAMPLE: usize = 4;

/// How the Redis that is answered from stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has everything.
    pub whole: bool,
    /// The generation that it serves.
    pub published: Option<u64>,
    /// The generation that this server answers with, and when it was trained.
    pub serving: Option<(u64, Timestamp)>,
    /// Why these differ, if they do.
    pub missing_model: Option<String>,
    /// The log position up to which it has everything.
    pub log_position: Option<u64>,
}

/// Runs what makes an answer, such as where its stages are measured.
pub type Within = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// Answers from Redis.
pub struct Remote {
    client: Client,
    recommender: Arc<Recommender>,
    within: Within,
    worlds: Arc<Worlds>,
    items: Arc<Items>,
    models: Models,
    meta: ArcSwap<Meta>,
    base: ArcSwap<Base>,
    /// Candidates of the source of similar items, if it gives any.
    similar: Option<usize>,
    /// Of searches that may be under way.
    room: Semaphore,
    /// Of those that look further, since too few of the nearest pass.
    wide: Semaphore,
    /// Whether the recommender's own world has everything, so that it knows first what is popular and new.
    has_log: bool,
}

/// A user as a request needs them.
struct User {
    state: PortableUser,
    attributes: Attributes,
}

/// What is asked for, beside the user.
struct Wanted<'a> {
    now: Timestamp,
    condition: Option<Expr>,
    nearest: usize,
    /// Ids besides, found by other means.
    others: Vec<&'a str>,
    /// Whether so many are looked for that it takes its time.
    costly: bool,
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// All that passes.
    All,
    /// As many as were asked for.
    Enough,
    /// What there was time for.
    Partly,
}

/// A search for the nearest that was made without its filter.
struct Unfiltered {
    filter: Filter,
    looked_at: usize,
}

/// What was found.
struct Finds {
    items: Vec<Arc<Item>>,
    /// Of the first search.
    found: Found,
    unfiltered: Option<Unfiltered>,
}

/// A world, and what the search for it found.
struct Gathered {
    world: World,
    found: Found,
}

impl Remote {
    /// Answers as `recommender` does. Of the world that it has, only what is popular and new counts, and that where it `has_log`.
    pub fn new(
        config: &Config,
        items: Arc<Items>,
        recommender: Arc<Recommender>,
        features: SharedFeatures,
        models: Models,
        within: Within,
        has_log: bool,
    ) -> Self {
        let client = items.client().clone();
        let worlds = Arc::new(Worlds { attributes: config.items.schema(), options: state_options(config), features });
        let source = &config.recommend.sources.item_to_item;
        let similar = source.gives().then(|| source.quota.unwrap_or(config.recommend.candidates));
        let (meta, base) = (ArcSwap::default(), ArcSwap::from_pointee(Base::empty(&worlds)));
        let room = Semaphore::new(client.config().concurrent_searches);
        Self {
            base,
            meta,
            client,
            recommender,
            within,
            worlds,
            items,
            models,
            similar,
            room,
            wide: Semaphore::new(WIDE),
            has_log,
        }
    }

    /// How Redis stands, as of the last look.
    pub fn standing(&self) -> Standing {
        let base = self.base.load();
        let Meta { whole, generation, log_position, .. } = **self.meta.load();
        let serving = base.serving.as_ref().map(|serving| {
            let manifest = serving.model.model().manifest();
            (manifest.version.0, manifest.created_at)
        });
        let missing_model = base.missing_model.clone();
        Standing { whole, published: generation, serving, missing_model, log_position }
    }

    /// Looks at what Redis has now.
    ///
    /// # Errors
    /// Redis; what was known stays.
    pub async fn refresh(&self) -> Result<(), RemoteError> {
        let mut meta = Meta::read(&self.client).await?;
        if meta.whole && meta.definitions.as_deref() != Some(self.items.definitions()) {
            meta.whole = false;
            if self.meta.load().definitions != meta.definitions {
                tracing::warn!(
                    server = self.client.server(),
                    "Redis was written under other settings than this server's; it answers without Redis until they are the same"
                );
            }
        }
        if !meta.whole {
            self.meta.store(Arc::new(meta.clone()));
        }
        let base = self
            .base
            .load_full()
            .refreshed(meta.clone(), &self.client, &self.items, &self.worlds, &self.models, !self.has_log)
            .await?;
        if let Some(base) = base {
            self.base.store(Arc::new(base));
        }
        // Last, so that whoever hears of a generation is answered by it.
        self.meta.store(Arc::new(meta));
        Ok(())
    }

    /// Looks again and again, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "Redis was not looked at");
            }
            tokio::time::sleep(REFRESH).await;
        }
    }

    /// The best items for a user.
    ///
    /// # Errors
    /// [`RemoteError::Request`] if the request cannot be answered as it is; else Redis.
    pub async fn recommend(&self, request: &RecommendRequest) -> Result<Recommendation, RemoteError> {
        let now = request.now.unwrap_or_else(Timestamp::now);
        let request = RecommendRequest { now: Some(now), ..request.clone() };
        let (limit, candidates) = self.recommender.extent(&request)?;
        let condition = self.recommender.conditions_on_items(request.filter.as_deref(), &request.params, now)?;
        self.check_whole()?;
        let _place = self.place()?;
        let base = self.base.load_full();
        let user = self.user(&request.user_id).await?;
        let others = self.recommender.unpersonal_in(&self.overview(&base), &request)?;
        let met = user.as_ref().map_or(0, |user| user.state.seen_count()).min(MAX_MET);
        let mut nearest = (candidates + met + request.exclude.len()).min(MAX_NEAREST);
        let (mut before, mut one_of_few) = (None, None);
        loop {
            let others = others.iter().map(String::as_str).collect();
            let costly = before.is_some() || nearest > USUAL;
            let wanted = Wanted { now, condition: condition.clone(), nearest, others, costly };
            let gathered =
                match (self.gather(&base, Some(&request.user_id), user.as_ref(), &wanted).await, before.take()) {
                    (Ok(gathered), _) => gathered,
                    (Err(_), Some(answer)) => return Ok(partial(answer)),
                    (Err(error), None) => return Err(error),
                };
            let answer = self.answer(|recommender| recommender.recommend_in(&gathered.world, &request))?;
            if answer.items.len() >= limit || gathered.found == Found::All {
                return Ok(answer);
            }
            if self.has_log {
                return Err(RemoteError::Selective(nearest));
            }
            if gathered.found == Found::Partly || nearest >= MAX_NEAREST {
                return Ok(partial(answer));
            }
            if one_of_few.is_none() {
                one_of_few = self.wide.try_acquire().ok();
            }
            if one_of_few.is_none() {
                return Ok(partial(answer));
            }
            before = Some(answer);
            nearest = (nearest * OVERSAMPLE).min(MAX_NEAREST);
        }
    }

    /// The items most like one item.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub async fn similar(&self, request: &SimilarRequest) -> Result<Recommendation, RemoteError> {
        let now = request.now.unwrap_or_else(Timestamp::now);
        let request = SimilarRequest { now: Some(now), ..request.clone() };
        let condition = self.recommender.conditions_on_items(request.filter.as_deref(), &request.params, now)?;
        let unpersonal = unpersonal(&request, Some(now));
        let (limit, candidates) = self.recommender.extent(&unpersonal)?;
        self.check_whole()?;
        let _place = self.place()?;
        let base = self.base.load_full();
        let others = self.recommender.unpersonal_in(&self.overview(&base), &unpersonal)?;
        let others = others.iter().map(String::as_str).chain([request.item_id.as_str()]).collect();
        let serving = base.serving.as_deref();
        let taste = serving.and_then(|serving| {
            let place = serving.model.place(&request.item_id)?;
            serving.model.model().taste([place].into_iter())
        });
        let nearest = (OVERSAMPLE * (candidates.min(1_000) + request.exclude.len()) + limit).min(MAX_NEAREST);
        let wanted = Wanted { now, condition, nearest, others, costly: nearest > USUAL };
        let Finds { items, unfiltered, .. } = self.found(serving, &[(taste, nearest)], &wanted).await?;
        let model = serving.map(|serving| &serving.model);
        let world = self.worlds.of(&items, Vec::new(), &base.rankings, model, now);
        observe(serving, unfiltered, &wanted, &world);
        self.answer(|recommender| recommender.similar_in(&world, &request))
    }

    /// The given items in the order that is best for the user.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub async fn rank(&self, request: &RankRequest) -> Result<Recommendation, RemoteError> {
        let now = request.now.unwrap_or_else(Timestamp::now);
        let request = RankRequest { now: Some(now), ..request.clone() };
        self.check_whole()?;
        let base = self.base.load_full();
        let user = self.user(&request.user_id).await?;
        let others = request.items.iter().map(String::as_str).collect();
        let wanted = Wanted { now, condition: None, nearest: 0, others, costly: false };
        let gathered = self.gather(&base, Some(&request.user_id), user.as_ref(), &wanted).await?;
        self.answer(|recommender| recommender.rank_in(&gathered.world, &request))
    }

    /// What there is to answer with while Redis is gone: popular and new items as of some seconds before.
    ///
    /// # Errors
    /// [`RemoteError::Request`] if the request cannot be answered as it is.
    pub fn recommend_without(&self, request: &RecommendRequest) -> Result<Recommendation, RemoteError> {
        self.answer(|recommender| recommender.recommend_in(&self.base.load().world, request))
    }

    /// As [`recommend_without`](Self::recommend_without).
    ///
    /// # Errors
    /// As there.
    pub fn similar_without(&self, request: &SimilarRequest) -> Result<Recommendation, RemoteError> {
        match self.answer(|recommender| recommender.similar_in(&self.base.load().world, request)) {
            // It is none of the listed ones, and whether there is such an item cannot be found out.
            Err(RemoteError::Request(RecommendError::UnknownItem { .. })) => {
                self.recommend_without(&unpersonal(request, request.now))
            }
            answer => answer,
        }
    }

    /// As [`recommend_without`](Self::recommend_without).
    ///
    /// # Errors
    /// As there.
    pub fn rank_without(&self, request: &RankRequest) -> Result<Recommendation, RemoteError> {
        self.answer(|recommender| recommender.rank_in(&self.base.load().world, request))
    }

    fn answer(
        &self,
        make: impl FnOnce(&Recommender) -> Result<Recommendation, RecommendError>,
    ) -> Result<Recommendation, RemoteError> {
        let (mut make, mut answer) = (Some(make), None);
        (self.within)(&mut || answer = make.take().map(|make| make(&self.recommender)));
        // Whoever is given work and does not do it leaves no answer.
        Ok(answer.ok_or(RemoteError::NotWhole)??)
    }

    /// Where popular and new items are listed.
    fn overview(&self, base: &Base) -> World {
        if self.has_log { self.recommender.world() } else { base.world.clone() }
    }

    /// Refuses to answer from a Redis that lacks part of what is known here.
    fn check_whole(&self) -> Result<(), RemoteError> {
        let unpublished = self.has_log && self.base.load().serving.is_none() && self.recommender.generation().is_some();
        if self.meta.load().whole && !unpublished { Ok(()) } else { Err(RemoteError::NotWhole) }
    }

    /// A place among those who search.
    fn place(&self) -> Result<SemaphorePermit<'_>, RemoteError> {
        self.room.try_acquire().map_err(|_| RemoteError::Busy(self.client.config().concurrent_searches))
    }

    /// The attributes of an item.
    ///
    /// # Errors
    /// Redis.
    pub async fn item(&self, id: &str) -> Result<Option<Attributes>, RemoteError> {
        let mut found = self.items.read(ITEMS, &[id]).await?;
        Ok(found.pop().flatten().map(|item| item.upsert.attributes.clone()))
    }

    /// The attributes of a user.
    ///
    /// # Errors
    /// Redis.
    pub async fn user_attributes(&self, id: &str) -> Result<Option<Attributes>, RemoteError> {
        Ok(self.user(id).await?.map(|user| user.attributes))
    }

    /// Whether something was read that answers can be made from, be it nothing but popular items.
    pub fn has_begun(&self) -> bool {
        self.meta.load().whole || self.base.load().meta.whole
    }

    /// A world of these users and items, to read their features in.
    ///
    /// # Errors
    /// Redis.
    pub async fn world_of(&self, users: &[String], items: &[String]) -> Result<World, RemoteError> {
        self.check_whole()?;
        let ids: Vec<&str> = users.iter().map(String::as_str).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let read = if ids.len().max(items.len()) > FEW { MANY } else { USER };
        let (users, items) = futures::future::try_join(self.users(read, &ids), self.items.read(read, &items)).await?;
        let base = self.base.load();
        let known = ids.iter().zip(&users).filter_map(|(id, user)| Some((*id, user.as_ref()?)));
        let known = known.map(|(id, user)| (id, &user.state, user.attributes.clone())).collect();
        let model = base.serving.as_deref().map(|serving| &serving.model);
        let items: Vec<Arc<Item>> = items.into_iter().flatten().collect();
        Ok(self.worlds.of(&items, known, &base.rankings, model, Timestamp::now()))
    }

    async fn user(&self, id: &str) -> Result<Option<User>, RemoteError> {
        Ok(self.users(USER, &[id]).await?.pop().flatten())
    }

    /// Users by id, in order; none where nobody knows them.
    async fn users(&self, operation: Operation, ids: &[&str]) -> Result<Vec<Option<User>>, RemoteError> {
        let schema = self.worlds.features.user_attributes();
        let mut pipeline = Pipeline::with_capacity(ids.len() + 1);
        ask_whole(&mut pipeline, &self.client);
        for id in ids {
            let get = pipeline.cmd("HMGET").arg(self.client.layout().user(id)).arg(STATE);
            for (name, _) in schema.fields() {
                get.arg(name);
            }
        }
        let mut answers = self.client.pipeline(operation, &pipeline).await?.into_iter();
        check_whole(answers.next(), self.items.definitions())?;
        answers.map(|answer| Ok(self.read_user(answer?))).collect()
    }

    fn read_user(&self, answer: Value) -> Option<User> {
        let Value::Array(values) = answer else { return None };
        let schema = self.worlds.features.user_attributes();
        let mut values = values.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        });
        let state = values.next().flatten()?;
        let names = schema.fields().iter().map(|(name, _)| name.as_str());
        let fields: Vec<(&str, Vec<u8>)> = names.zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        let attributes = decode_attributes(schema, fields.iter().map(|(name, value)| (*name, value.as_slice())));
        match PortableUser::decode(&self.worlds.features, &state) {
            Ok(state) => Some(User { state, attributes }),
            Err(error) => {
                // As one of whom nothing is known; the server with the log writes it anew.
                tracing::warn!(%error, "the state of a user in Redis cannot be read");
                None
            }
        }
    }

    async fn gather(
        &self,
        base: &Base,
        user_id: Option<&str>,
        user: Option<&User>,
        wanted: &Wanted<'_>,
    ) -> Result<Gathered, RemoteError> {
        let serving = base.serving.as_deref();
        let model = serving.map(|serving| &serving.model);
        let vector =
            model.zip(user).filter(|_| wanted.nearest > 0).and_then(|(model, user)| fold_in(&user.state, model));
        let taste = model.zip(user).zip(self.similar).filter(|_| wanted.nearest > 0).and_then(|((model, user), _)| {
            model.model().taste(user.state.history().filter_map(|liked| model.place(&liked.item_id)))
        });
        let tasted = self.similar.map_or(0, |quota| (3 * quota + wanted.nearest / 4).min(wanted.nearest));
        let searches = [(vector, wanted.nearest), (taste, tasted)];
        let Finds { items, found, unfiltered } = self.found(serving, &searches, wanted).await?;
        let user = user_id.zip(user).map(|(id, user)| (id, &user.state, user.attributes.clone()));
        let world = self.worlds.of(&items, user.into_iter().collect(), &base.rankings, model, wanted.now);
        observe(serving, unfiltered, wanted, &world);
        Ok(Gathered { world, found })
    }

    /// The nearest to each vector and the others, all at once; and what became of the first search.
    async fn found(
        &self,
        serving: Option<&Serving>,
        searches: &[(Option<Vec<f32>>, usize)],
        wanted: &Wanted<'_>,
    ) -> Result<Finds, RemoteError> {
        let pushed = wanted.condition.as_ref().map(|condition| Pushdown::of(condition, &self.worlds.attributes));
        let filter = match &pushed {
            None => Some(Filter::all()),
            Some(pushed) => pushed.filter.clone(),
        };
        let (since, returned) = (self.items.now(), self.items.returned());
        let times = if pushed.is_some_and(|pushed| pushed.residue.is_some()) { OVERSAMPLE } else { 1 };
        let search = |vector: &Option<Vec<f32>>, k: usize| {
            let k = (k * times).min(MAX_NEAREST);
            let asked = serving.zip(vector.as_ref()).zip(filter.clone()).filter(|_| k > 0);
            let asked = asked.map(|((serving, vector), filter)| {
                let dimension = serving.model.model().manifest().model.rank;
                let format = VectorFormat { dimension, kind: self.client.config().index.vector_type };
                // What is left to check here would count as well.
                let more = serving.search.unfiltered(&filter, k).filter(|more| times == 1 && *more <= MAX_NEAREST);
                let (filter, k, unfiltered) = match more {
                    Some(more) => (Filter::all(), more, Some(filter)),
                    None => (filter, k, None),
                };
                let usual = if unfiltered.is_some() { OVERSAMPLE * USUAL } else { USUAL };
                let (costly, returned) = (wanted.costly || k > usual, returned.clone());
                let nearest = Nearest { vector: format.query(vector), k, filter, returned, costly };
                (serving.search.clone(), nearest, unfiltered)
            });
            async move {
                match asked {
                    Some((search, nearest, unfiltered)) => {
                        let rows = search.nearest(&nearest).await?;
                        let unfiltered = unfiltered.map(|filter| Unfiltered { filter, looked_at: rows.rows.len() });
                        Ok((rows, nearest.k, unfiltered))
                    }
                    None => Ok((Rows::default(), usize::MAX, None)),
                }
            }
        };
        let found = futures::future::try_join_all(searches.iter().map(|(vector, k)| search(vector, *k)));
        let others = self.items.read(ITEMS, &wanted.others);
        let found = async { found.await.map_err(RemoteError::Redis) };
        let (found, others) = futures::future::try_join(found, others).await?;
        let mut searches = found.into_iter();
        let (first, k, unfiltered) = searches.next().unwrap_or_default();
        let indexed = serving.map_or(0, |serving| serving.model.model().len());
        let found = match () {
            () if first.partial => Found::Partly,
            () if first.rows.len() >= k && k < indexed => Found::Enough,
            () => Found::All,
        };
        let rows: Vec<Row> = first.rows.into_iter().chain(searches.flat_map(|(rows, ..)| rows.rows)).collect();
        let mut items = self.items.of_rows(ITEMS, &rows, &returned, since).await?;
        items.extend(others.into_iter().flatten());
        Ok(Finds { items, found, unfiltered })
    }
}

/// Tells how many passed of those that were looked at without the filter. They come first in the world.
fn observe(serving: Option<&Serving>, unfiltered: Option<Unfiltered>, wanted: &Wanted<'_>, world: &World) {
    let (Some(serving), Some(Unfiltered { filter, looked_at }), Some(condition)) =
        (serving, unfiltered, &wanted.condition)
    else {
        return;
    };
    if let Ok(passing) = world.catalog.snapshot().bitmap(condition) {
        let passed = passing.iter().take_while(|row| (*row as usize) < looked_at).count();
        serving.search.observe(&filter, passed, looked_at);
    }
}

/// As it is, though more would pass.
fn partial(mut answer: Recommendation) -> Recommendation {
    answer.degraded.push("redis:partial".to_owned());
    answer
}

/// What asks for popular items in the place of similar ones.
fn unpersonal(request: &SimilarRequest, now: Option<Timestamp>) -> RecommendRequest {
    RecommendRequest {
        user_id: request.item_id.clone(),
        limit: request.limit,
        filter: request.filter.clone(),
        params: request.params.clone(),
        context: request.context.clone(),
        exclude: request.exclude.clone(),
        request_id: request.request_id.clone(),
        explain: request.explain,
        now,
        ..RecommendRequest::default()
    }
}

/// What an answer lacks that Redis did not help with, if that is why there is none.
pub fn degraded_by(error: &RemoteError) -> Option<String> {
    match error {
        RemoteError::Request(_) => None,
        RemoteError::Redis(error) => Some(format!("redis:{}", error.kind())),
        RemoteError::NotWhole => Some("redis:not_whole".to_owned()),
        RemoteError::Busy(_) => Some("redis:busy".to_owned()),
        RemoteError::Selective(_) => Some("redis:selective".to_owned()),
        _ => Some("redis:data".to_owned()),
    }
}
