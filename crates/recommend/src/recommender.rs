//! What callers use: a recommender is set up and checked once, and answers three kinds of request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tastemaker_config::{Config, RecommendConfig};
use tastemaker_expr::{Bind, Expr, Kind};
use tastemaker_features::set::FeatureId;
use tastemaker_features::{Liked, OnlineState, User};
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, Timestamp, validate_id};
use uuid::Uuid;

use crate::answer::Ask;
use crate::assembly::{Pipelines, place, weights};
use crate::expressions::Expressions;
use crate::features::FeaturePlans;
use crate::generation::{Installed, ServingGeneration};
use crate::names::{Compiled, Names};
use crate::query::Weights;
use crate::world::World;
use crate::{
    MAX_CANDIDATES, MAX_IDS, RankRequest, RecommendError, RecommendRequest, Recommendation, SetupError, SimilarRequest,
};

/// Answers requests, from any number of threads. An answer takes CPU time alone, around a millisecond of it.
pub struct Recommender {
    pub(crate) config: RecommendConfig,
    weights: Weights,
    pub(crate) budget: Duration,
    catalog: Arc<Catalog>,
    state: Arc<OnlineState>,
    generation: Installed,
    pub(crate) expressions: Expressions,
    pub(crate) features: FeaturePlans,
    pipelines: Pipelines,
    /// The attributes that answers carry, and their places; all of them if it is `None`.
    pub(crate) attributes: Option<Vec<(String, usize)>>,
}

impl Recommender {
    /// A recommender over a catalog and the state that goes with it, as `config.recommend` describes. It answers without a generation until one is
    /// [installed](Self::install).
    ///
    /// # Errors
    /// [`SetupError`] names the setting that cannot work.
    pub fn new(config: &Config, catalog: Arc<Catalog>, state: Arc<OnlineState>) -> Result<Self, SetupError> {
        let config = config.recommend.clone();
        let declared = state.features();
        let expressions = Expressions::new(Names::new(catalog.attributes(), declared));
        let mut needed: Vec<FeatureId> = Vec::new();
        let now = Timestamp::now();
        if let Some(text) = &config.eligibility {
            let compiled = expressions.condition(text, &BTreeMap::new(), now);
            let condition =
                compiled.map_err(|error| SetupError::Expression { key: "eligibility", source: Box::new(error) })?;
            needed.extend(condition.parts().flat_map(Compiled::features));
        }
        if let Some(text) = &config.boost {
            let compiled = expressions.value(text, now);
            let boost = compiled.map_err(|error| SetupError::Expression { key: "boost", source: Box::new(error) })?;
            if let Some(kind) = boost.expr().kind().filter(|kind| *kind != Kind::Number) {
                return Err(SetupError::Boost { found: kind.to_string() });
            }
            needed.extend(boost.features());
        }
        let logged = config.features.iter().map(|reference| declared.by_reference(reference));
        let logged: Vec<FeatureId> =
            logged.collect::<Result<_, _>>().map_err(|message| SetupError::Feature { message })?;
        let readable = !declared.is_empty() || !logged.is_empty();
        let items = catalog.attributes();
        let attributes = config
            .attributes
            .as_ref()
            .map(|names| names.iter().map(|name| Ok((name.clone(), place("attributes", items, name)?))).collect());
        Ok(Self {
            weights: weights(&config),
            budget: config.budget.to_duration(),
            pipelines: Pipelines::new(&config, items, readable)?,
            attributes: attributes.transpose()?,
            generation: Installed::empty(),
            features: FeaturePlans::new(declared, needed, logged, config.log_features),
            expressions,
            catalog,
            state,
            config,
        })
    }

    /// Makes `generation` the one that answers. Requests under way finish with the one that they began with.
    pub fn install(&self, generation: Arc<ServingGeneration>) {
        self.generation.store(Some(generation));
    }

    /// The generation that answers, if any.
    pub fn generation(&self) -> Option<Arc<ServingGeneration>> {
        self.generation.load_full()
    }

    /// What answers are made from now, the installed generation included.
    pub fn world(&self) -> World {
        let generation = self.generation.load_full();
        World { catalog: Arc::clone(&self.catalog), state: Arc::clone(&self.state), generation, hidden: Vec::new() }
    }

    /// The best items for a user.
    ///
    /// # Errors
    /// [`RecommendError`] if the request cannot be answered as it is. What goes wrong on our side degrades the answer instead.
    pub fn recommend(&self, request: &RecommendRequest) -> Result<Recommendation, RecommendError> {
        self.recommend_in(&self.world(), request)
    }

    /// As [`recommend`](Self::recommend), from another world than this recommender's own. Its items have the same attributes declared, its state
    /// the same features.
    ///
    /// # Errors
    /// As there.
    pub fn recommend_in(&self, world: &World, request: &RecommendRequest) -> Result<Recommendation, RecommendError> {
        validate_id("user_id", &request.user_id)?;
        let (user, now) = user(world, &request.user_id, request.now);
        self.full_answer(&self.pipelines.for_user, &self.ask(world, request, user.as_ref(), now)?)
    }

    /// What must hold of the attributes of an item for it to be in the answer to a request: what retrieval elsewhere may filter by.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn conditions_on_items(
        &self,
        filter: Option<&str>,
        params: &BTreeMap<String, Bind>,
        now: Timestamp,
    ) -> Result<Option<Expr>, RecommendError> {
        let mut parts = Vec::new();
        if let Some(text) = &self.config.eligibility {
            let compiled = self.expressions.condition(text, &BTreeMap::new(), now);
            let evaluation = |error| RecommendError::Evaluation { what: "eligibility", source: Box::new(error) };
            parts.extend(compiled.map_err(evaluation)?.attributes.as_ref().map(|part| part.expr().clone()));
        }
        if let Some(text) = filter {
            let compiled = self.expressions.condition(text, params, now).map_err(RecommendError::Filter)?;
            parts.extend(compiled.attributes.as_ref().map(|part| part.expr().clone()));
        }
        Ok(Expr::all(parts.iter().flat_map(Expr::conjuncts).collect()))
    }

    /// The items that an answer to a request has, and the candidates that are considered for it.
    ///
    /// # Errors
    /// A number that is out of its range.
    pub fn extent(&self, request: &RecommendRequest) -> Result<(usize, usize), RecommendError> {
        let candidates = in_range("candidates", request.candidates, self.config.candidates, MAX_CANDIDATES)?;
        Ok((self.limit(request.limit)?, candidates))
    }

    /// The popular and the new items that an answer to a request may take, the user aside: admitted, as many as the settings of their sources say or
    /// as a full answer takes.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn unpersonal_in(&self, world: &World, request: &RecommendRequest) -> Result<Vec<String>, RecommendError> {
        let now = request.now.unwrap_or_else(Timestamp::now);
        self.unpersonal(&self.ask(world, request, None, now)?)
    }

    fn ask<'a>(
        &self,
        world: &'a World,
        request: &'a RecommendRequest,
        user: Option<&'a User>,
        now: Timestamp,
    ) -> Result<Ask<'a>, RecommendError> {
        let include_seen = request.include_seen.unwrap_or(false);
        let seen = user.filter(|_| !include_seen).map(|user| {
            // A policy that remembers nothing is overruled by a request that asks for exclusion.
            let liked = user.history.iter().map(|liked| liked.row).filter(|_| request.include_seen == Some(false));
            user.seen.iter().copied().chain(liked).collect()
        });
        Ok(Ask {
            now,
            user_id: Some(&request.user_id),
            attributes: user.map(|user| &user.attributes),
            context: self.context(&request.context)?,
            limit: self.limit(request.limit)?,
            candidates: in_range("candidates", request.candidates, self.config.candidates, MAX_CANDIDATES)?,
            filter: request.filter.as_deref(),
            params: &request.params,
            exclude: &request.exclude,
            excluded: Vec::new(),
            history: user.map(|user| user.history.clone()).unwrap_or_default(),
            seen: seen.unwrap_or_default(),
            given: &[],
            weights: self.weights,
            world,
            degraded: world.lacks(),
            logged: true,
            request_id: request_id(request.request_id.as_deref()),
            explain: request.explain,
        })
    }

    /// The items nearest to one item by the cosine of their vectors; the most popular ones if it has no vector.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend), and if there is no such item.
    pub fn similar(&self, request: &SimilarRequest) -> Result<Recommendation, RecommendError> {
        self.similar_in(&self.world(), request)
    }

    /// As [`similar`](Self::similar), from another world; see [`recommend_in`](Self::recommend_in).
    ///
    /// # Errors
    /// As there.
    pub fn similar_in(&self, world: &World, request: &SimilarRequest) -> Result<Recommendation, RecommendError> {
        validate_id("item_id", &request.item_id)?;
        let catalog = world.catalog.snapshot();
        let row = catalog.row(&request.item_id).filter(|row| catalog.alive(*row));
        let row = row.ok_or_else(|| RecommendError::UnknownItem { id: request.item_id.clone() })?;
        let now = request.now.unwrap_or_else(Timestamp::now);
        let mut degraded = world.lacks();
        let generation = world.generation.as_deref();
        let has_vector = generation.is_some_and(|generation| generation.vector(row).is_some());
        if generation.is_some() && !has_vector {
            degraded.push("no_vector".to_owned());
        }
        let none = Weights { relevance: 0.0, similarity: 0.0, popularity: 0.0, freshness: 0.0 };
        let weights =
            if has_vector { Weights { similarity: 1.0, ..none } } else { Weights { popularity: 1.0, ..none } };
        let ask = Ask {
            now,
            user_id: None,
            attributes: None,
            context: self.context(&request.context)?,
            limit: self.limit(request.limit)?,
            candidates: self.config.candidates,
            filter: request.filter.as_deref(),
            params: &request.params,
            exclude: &request.exclude,
            excluded: vec![row],
            history: vec![Liked { row, weight: 1.0, at: now }],
            seen: Vec::new(),
            given: &[],
            weights,
            world,
            degraded,
            logged: false,
            request_id: request_id(request.request_id.as_deref()),
            explain: request.explain,
        };
        self.full_answer(&self.pipelines.like_item, &ask)
    }

    /// The given items in the order that is best for the user.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn rank(&self, request: &RankRequest) -> Result<Recommendation, RecommendError> {
        self.rank_in(&self.world(), request)
    }

    /// As [`rank`](Self::rank), from another world; see [`recommend_in`](Self::recommend_in).
    ///
    /// # Errors
    /// As there.
    pub fn rank_in(&self, world: &World, request: &RankRequest) -> Result<Recommendation, RecommendError> {
        validate_id("user_id", &request.user_id)?;
        not_too_many("items", request.items.len())?;
        let (user, now) = user(world, &request.user_id, request.now);
        let user = user.as_ref();
        let ask = Ask {
            now,
            user_id: Some(&request.user_id),
            attributes: user.map(|user| &user.attributes),
            context: self.context(&request.context)?,
            limit: request.items.len(),
            candidates: self.config.candidates,
            filter: None,
            params: &BTreeMap::new(),
            exclude: &[],
            excluded: Vec::new(),
            history: user.map(|user| user.history.clone()).unwrap_or_default(),
            seen: Vec::new(),
            given: &request.items,
            weights: self.weights,
            world,
            degraded: world.lacks(),
            logged: false,
            request_id: request_id(request.request_id.as_deref()),
            explain: request.explain,
        };
        self.answer_once(&self.pipelines.given, &ask)
    }

    /// The request's parameters, of their declared types.
    fn context(&self, given: &Attributes) -> Result<Attributes, RecommendError> {
        Ok(self.state.features().context().coerce_all(given.clone())?)
    }

    fn limit(&self, asked: Option<usize>) -> Result<usize, RecommendError> {
        in_range("limit", asked, self.config.limit, self.config.max_limit)
    }
}

fn user(world: &World, id: &str, now: Option<Timestamp>) -> (Option<User>, Timestamp) {
    let now = now.unwrap_or_else(Timestamp::now);
    (world.state.user(id, now), now)
}

fn in_range(what: &'static str, asked: Option<usize>, default: usize, max: usize) -> Result<usize, RecommendError> {
    match asked {
        None => Ok(default.clamp(1, max)),
        Some(given) if (1..=max).contains(&given) => Ok(given),
        Some(given) => Err(RecommendError::OutOfRange { what, given, max }),
    }
}

pub(crate) fn not_too_many(what: &'static str, given: usize) -> Result<(), RecommendError> {
    if given <= MAX_IDS { Ok(()) } else { Err(RecommendError::TooMany { what, given, max: MAX_IDS }) }
}

fn request_id(given: Option<&str>) -> String {
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}
