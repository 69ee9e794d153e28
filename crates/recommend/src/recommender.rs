//! From a request to a query, a run of the stages, and an answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tastemaker_config::{Config, RecommendConfig};
use tastemaker_expr::{Bind, Expr, Kind};
use tastemaker_features::{Liked, OnlineState, User};
use tastemaker_pipeline::{Outcome, Pipeline};
use tastemaker_store::{Bitmap, Catalog, CatalogSnapshot};
use tastemaker_types::{Attributes, Timestamp, validate_id};
use uuid::Uuid;

use crate::assembly::{Pipelines, place, weights};
use crate::candidates::Candidates;
use crate::explain::explain;
use crate::expressions::Expressions;
use crate::generation::{Installed, Pinned, ServingGeneration};
use crate::query::{Admission, Once, Query, Weights};
use crate::{
    MAX_CANDIDATES, MAX_IDS, RankRequest, RecommendError, RecommendRequest, Recommendation, RecommendedItem,
    SetupError, SimilarRequest, sources,
};

/// Answers requests, from any number of threads. An answer takes CPU time alone, around a millisecond of it.
pub struct Recommender {
    config: RecommendConfig,
    weights: Weights,
    budget: Duration,
    catalog: Arc<Catalog>,
    state: Arc<OnlineState>,
    generation: Installed,
    expressions: Expressions,
    pipelines: Pipelines,
    /// The attributes that answers carry, and their places; all of them if it is `None`.
    attributes: Option<Vec<(String, usize)>>,
}

/// What one request asks of a pipeline, whoever it is for.
struct Ask<'a> {
    now: Timestamp,
    limit: usize,
    candidates: usize,
    filter: Option<&'a str>,
    params: &'a BTreeMap<String, Bind>,
    exclude: &'a [String],
    /// Rows to exclude besides.
    excluded: Vec<u32>,
    history: Vec<Liked>,
    seen: Vec<u32>,
    given: &'a [String],
    weights: Weights,
    generation: Pinned,
    /// What the answer lacks from the start.
    degraded: Vec<String>,
    request_id: Option<&'a str>,
    /// For an explanation: what was known of the user.
    story: Option<Option<&'a Attributes>>,
}

impl Recommender {
    /// A recommender over a catalog and the state that goes with it, as `config.recommend` describes. It answers without a generation until one is
    /// [installed](Self::install).
    ///
    /// # Errors
    /// [`SetupError`] names the setting that cannot work.
    pub fn new(config: &Config, catalog: Arc<Catalog>, state: Arc<OnlineState>) -> Result<Self, SetupError> {
        let config = config.recommend.clone();
        let expressions = Expressions::new(catalog.schema().clone());
        let now = Timestamp::now();
        if let Some(text) = &config.eligibility {
            let compiled = expressions.condition(text, &BTreeMap::new(), now);
            compiled.map_err(|error| SetupError::Expression { key: "eligibility", source: Box::new(error) })?;
        }
        if let Some(text) = &config.boost {
            let compiled = expressions.value(text, now);
            let boost = compiled.map_err(|error| SetupError::Expression { key: "boost", source: Box::new(error) })?;
            if let Some(kind) = boost.kind().filter(|kind| *kind != Kind::Number) {
                return Err(SetupError::Boost { found: kind.to_string() });
            }
        }
        let declared = catalog.attributes();
        let attributes = config
            .attributes
            .as_ref()
            .map(|names| names.iter().map(|name| Ok((name.clone(), place("attributes", declared, name)?))).collect());
        Ok(Self {
            weights: weights(&config),
            budget: config.budget.to_duration(),
            pipelines: Pipelines::new(&config, declared)?,
            attributes: attributes.transpose()?,
            generation: Installed::empty(),
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

    /// The best items for a user.
    ///
    /// # Errors
    /// [`RecommendError`] if the request cannot be answered as it is. What goes wrong on our side degrades the answer instead.
    pub fn recommend(&self, request: &RecommendRequest) -> Result<Recommendation, RecommendError> {
        validate_id("user_id", &request.user_id)?;
        let (user, now) = self.user(&request.user_id, request.now);
        let include_seen = request.include_seen.unwrap_or(false);
        let (generation, degraded) = self.pin();
        let user = user.as_ref();
        let seen = user.filter(|_| !include_seen).map(|user| {
            // A policy that remembers nothing is overruled by a request that asks for exclusion.
            let liked = user.history.iter().map(|liked| liked.row).filter(|_| request.include_seen == Some(false));
            user.seen.iter().copied().chain(liked).collect()
        });
        let ask = Ask {
            now,
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
            generation,
            degraded,
            request_id: request.request_id.as_deref(),
            story: request.explain.then(|| user.map(|user| &user.attributes)),
        };
        self.full_answer(&self.pipelines.for_user, &ask)
    }

    /// The items nearest to one item by the cosine of their vectors; the most popular ones if it has no vector.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend), and if there is no such item.
    pub fn similar(&self, request: &SimilarRequest) -> Result<Recommendation, RecommendError> {
        validate_id("item_id", &request.item_id)?;
        let catalog = self.catalog.snapshot();
        let row = catalog.row(&request.item_id).filter(|row| catalog.alive(*row));
        let row = row.ok_or_else(|| RecommendError::UnknownItem { id: request.item_id.clone() })?;
        let now = request.now.unwrap_or_else(Timestamp::now);
        let (generation, mut degraded) = self.pin();
        let has_vector = generation.as_deref().is_some_and(|generation| generation.vector(row).is_some());
        if generation.is_some() && !has_vector {
            degraded.push("no_vector".to_owned());
        }
        let none = Weights { relevance: 0.0, similarity: 0.0, popularity: 0.0, freshness: 0.0 };
        let weights =
            if has_vector { Weights { similarity: 1.0, ..none } } else { Weights { popularity: 1.0, ..none } };
        let ask = Ask {
            now,
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
            generation,
            degraded,
            request_id: request.request_id.as_deref(),
            story: request.explain.then_some(None),
        };
        self.full_answer(&self.pipelines.like_item, &ask)
    }

    /// The given items in the order that is best for the user.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn rank(&self, request: &RankRequest) -> Result<Recommendation, RecommendError> {
        validate_id("user_id", &request.user_id)?;
        not_too_many("items", request.items.len())?;
        let (user, now) = self.user(&request.user_id, request.now);
        let (generation, degraded) = self.pin();
        let ask = Ask {
            now,
            limit: request.items.len(),
            candidates: self.config.candidates,
            filter: None,
            params: &BTreeMap::new(),
            exclude: &[],
            excluded: Vec::new(),
            history: user.as_ref().map(|user| user.history.clone()).unwrap_or_default(),
            seen: Vec::new(),
            given: &request.items,
            weights: self.weights,
            generation,
            degraded,
            request_id: request.request_id.as_deref(),
            story: request.explain.then(|| user.as_ref().map(|user| &user.attributes)),
        };
        let query = self.query(&ask)?;
        Ok(self.run(&self.pipelines.given, &query, &ask))
    }

    fn user(&self, id: &str, now: Option<Timestamp>) -> (Option<User>, Timestamp) {
        let now = now.unwrap_or_else(Timestamp::now);
        (self.state.user(id, now), now)
    }

    fn pin(&self) -> (Pinned, Vec<String>) {
        let generation = self.generation.load_full();
        let degraded = if generation.is_some() { Vec::new() } else { vec!["no_generation".to_owned()] };
        (generation, degraded)
    }

    fn limit(&self, asked: Option<usize>) -> Result<usize, RecommendError> {
        in_range("limit", asked, self.config.limit, self.config.max_limit)
    }

    /// Runs, and once more if items changed under the run so that the answer came out short.
    fn full_answer(
        &self,
        pipeline: &Pipeline<Query, Candidates>,
        ask: &Ask<'_>,
    ) -> Result<Recommendation, RecommendError> {
        let query = self.query(ask)?;
        let answer = self.run(pipeline, &query, ask);
        if answer.items.len() < ask.limit && self.catalog.snapshot().version() != query.catalog.version() {
            return Ok(self.run(pipeline, &self.query(ask)?, ask));
        }
        Ok(answer)
    }

    /// Pins what the request needs.
    fn query(&self, ask: &Ask<'_>) -> Result<Query, RecommendError> {
        not_too_many("exclude", ask.exclude.len())?;
        let catalog = self.catalog.snapshot();
        let rankings = self.state.rankings(ask.now);
        let mut excluded: HashSet<u32> = ask.exclude.iter().filter_map(|id| catalog.row(id)).collect();
        excluded.extend(&ask.excluded);
        let admission = self.admission(ask, &catalog, excluded)?;
        let boost = match &self.config.boost {
            // It compiled at start; should it not do so now, the answer goes without it.
            Some(text) => self.expressions.value(text, ask.now).ok(),
            None => None,
        };
        let mut given: Vec<u32> = ask.given.iter().filter_map(|id| catalog.row(id)).collect();
        let mut first = HashSet::new();
        given.retain(|row| first.insert(*row));
        let reserve = ask.limit / 2 + 10;
        Ok(Query {
            now: ask.now,
            limit: ask.limit,
            reserve,
            candidates: ask.candidates.max(ask.limit + reserve),
            weights: ask.weights,
            fresh_window: self.config.fresh_window,
            live: Arc::clone(&self.catalog),
            generation: ask.generation.clone(),
            rankings,
            history: ask.history.iter().filter(|liked| catalog.alive(liked.row)).copied().collect(),
            admission,
            boost,
            given,
            user_vector: Once::new(),
            taste: Once::new(),
            catalog,
        })
    }

    fn admission(
        &self,
        ask: &Ask<'_>,
        catalog: &CatalogSnapshot,
        excluded: HashSet<u32>,
    ) -> Result<Admission, RecommendError> {
        let none = BTreeMap::new();
        let who = |what: &'static str, expression: Arc<Expr>| match catalog.bitmap(&expression) {
            Ok(rows) => Ok((expression, rows)),
            Err(error) => Err(RecommendError::Evaluation { what, source: Box::new(error) }),
        };
        let eligibility = match &self.config.eligibility {
            Some(text) => {
                let compiled = self.expressions.condition(text, &none, ask.now);
                let evaluation = |error| RecommendError::Evaluation { what: "eligibility", source: Box::new(error) };
                Some(who("eligibility", compiled.map_err(evaluation)?)?)
            }
            None => None,
        };
        let filter = match ask.filter {
            Some(text) => {
                let compiled = self.expressions.condition(text, ask.params, ask.now);
                Some(who("filter", compiled.map_err(RecommendError::Filter)?)?)
            }
            None => None,
        };
        let mut admitted = match (&eligibility, &filter) {
            (Some((_, eligible)), Some((_, passing))) => eligible.and(passing),
            (Some((_, rows)), None) | (None, Some((_, rows))) => Bitmap::clone(rows),
            (None, None) => Bitmap::clone(&catalog.alive_rows()),
        };
        let seen: HashSet<u32> = ask.seen.iter().copied().collect();
        for row in excluded.iter().chain(&seen) {
            admitted.remove(*row);
        }
        Ok(Admission { eligibility, filter, excluded, seen, admitted })
    }

    fn run(&self, pipeline: &Pipeline<Query, Candidates>, query: &Query, ask: &Ask<'_>) -> Recommendation {
        let Outcome { batch, trace } = pipeline.run_blocking(query, Candidates::new(ask.story.is_some()), self.budget);
        let mut degraded = ask.degraded.clone();
        for (stage, reason) in trace.missing() {
            let missing = format!("{stage}:{reason}");
            if !degraded.contains(&missing) {
                degraded.push(missing);
            }
        }
        let columns = batch.rows.iter().zip(&batch.scores).zip(&batch.found_by);
        let items = columns.take(query.limit).map(|((row, score), found_by)| RecommendedItem {
            item_id: query.catalog.id(*row).map(|id| id.to_string()).unwrap_or_default(),
            score: *score,
            sources: sources::names(*found_by).collect(),
            attributes: self.attributes_of(&query.catalog, *row),
        });
        Recommendation {
            items: items.collect(),
            request_id: ask.request_id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned),
            generation: query.generation.as_deref().map(ServingGeneration::version),
            degraded,
            explain: ask.story.map(|attributes| {
                explain(
                    query,
                    &batch,
                    query.limit,
                    trace,
                    attributes.is_some(),
                    attributes.cloned().unwrap_or_default(),
                )
            }),
        }
    }

    fn attributes_of(&self, catalog: &CatalogSnapshot, row: u32) -> Attributes {
        match &self.attributes {
            None => catalog.attributes(row),
            Some(named) => {
                named.iter().filter_map(|(name, place)| Some((name.clone(), catalog.value(row, *place)?))).collect()
            }
        }
    }
}

fn in_range(what: &'static str, asked: Option<usize>, default: usize, max: usize) -> Result<usize, RecommendError> {
    match asked {
        None => Ok(default.clamp(1, max)),
        Some(given) if (1..=max).contains(&given) => Ok(given),
        Some(given) => Err(RecommendError::OutOfRange { what, given, max }),
    }
}

fn not_too_many(what: &'static str, given: usize) -> Result<(), RecommendError> {
    if given <= MAX_IDS { Ok(()) } else { Err(RecommendError::TooMany { what, given, max: MAX_IDS }) }
}
