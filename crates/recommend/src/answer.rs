//! From what is asked to a query, a run of the stages, and an answer; once more if it came out short.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tastemaker_expr::Bind;
use tastemaker_features::Liked;
use tastemaker_pipeline::{Outcome, Pipeline};
use tastemaker_store::{Bitmap, CatalogSnapshot};
use tastemaker_types::{Attributes, Timestamp};

use crate::candidates::Candidates;
use crate::explain::explain;
use crate::expressions::Condition;
use crate::generation::ServingGeneration;
use crate::names::Compiled;
use crate::query::{Admission, Admitting, Once, Query, Weights};
use crate::recommender::not_too_many;
use crate::world::World;
use crate::{MAX_CANDIDATES, RecommendError, Recommendation, RecommendedItem, Recommender, sources};

/// How many times the candidates are considered where features will drop some. If that is not enough, [`MAX_CANDIDATES`] are.
const OVERSAMPLE: usize = 2;

/// What one request asks of a pipeline, whoever it is for.
pub(crate) struct Ask<'a> {
    pub(crate) now: Timestamp,
    /// For whom, if it is for anybody.
    pub(crate) user_id: Option<&'a str>,
    /// What is known of the user, if there is one.
    pub(crate) attributes: Option<&'a Attributes>,
    /// Parameters of declared names and types.
    pub(crate) context: Attributes,
    pub(crate) limit: usize,
    pub(crate) candidates: usize,
    pub(crate) filter: Option<&'a str>,
    pub(crate) params: &'a BTreeMap<String, Bind>,
    pub(crate) exclude: &'a [String],
    /// Rows to exclude besides.
    pub(crate) excluded: Vec<u32>,
    pub(crate) history: Vec<Liked>,
    pub(crate) seen: Vec<u32>,
    pub(crate) given: &'a [String],
    pub(crate) weights: Weights,
    /// What it is answered from.
    pub(crate) world: &'a World,
    /// What the answer lacks from the start.
    pub(crate) degraded: Vec<String>,
    /// Whether it goes to the log, so that a share of the answers needs the values of features.
    pub(crate) logged: bool,
    pub(crate) request_id: String,
    pub(crate) explain: bool,
}

/// How far retrieval looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breadth {
    /// As far as was asked, and [`OVERSAMPLE`] times as far for conditions on features.
    Usual,
    /// As far as is allowed.
    Widest,
}

/// An answer, and whether there were items that conditions on features might have let pass but that were not looked at.
struct Answered {
    answer: Recommendation,
    more: bool,
}

impl Recommender {
    /// One run.
    pub(crate) fn answer_once(
        &self,
        pipeline: &Pipeline<Query, Candidates>,
        ask: &Ask<'_>,
    ) -> Result<Recommendation, RecommendError> {
        Ok(self.run(pipeline, &self.query(ask, Breadth::Usual)?, ask, self.budget).answer)
    }

    /// Runs, and once more if the answer came out short because items changed under the run, or because conditions on features dropped too many
    /// candidates.
    pub(crate) fn full_answer(
        &self,
        pipeline: &Pipeline<Query, Candidates>,
        ask: &Ask<'_>,
    ) -> Result<Recommendation, RecommendError> {
        let began = Instant::now();
        let query = self.query(ask, Breadth::Usual)?;
        let Answered { answer, more } = self.run(pipeline, &query, ask, self.budget);
        let changed = || ask.world.catalog.snapshot().version() != query.catalog.version();
        if answer.items.len() >= ask.limit || !(more || changed()) {
            return Ok(answer);
        }
        let breadth = if more { Breadth::Widest } else { Breadth::Usual };
        let left = self.budget.saturating_sub(began.elapsed());
        let second = self.run(pipeline, &self.query(ask, breadth)?, ask, left).answer;
        Ok(if second.items.len() < answer.items.len() { answer } else { second })
    }

    /// What the sources that know no user find.
    pub(crate) fn unpersonal(&self, ask: &Ask<'_>) -> Result<Vec<String>, RecommendError> {
        let query = self.query(ask, Breadth::Usual)?;
        let (popular, fresh) = (&self.config.sources.popular, &self.config.sources.fresh);
        let quota = |quota: Option<usize>| quota.unwrap_or(query.candidates).max(query.wanted());
        let mut rows = sources::popular(&query, quota(popular.quota), |_| true);
        let known: HashSet<u32> = rows.iter().copied().collect();
        rows.extend(sources::newest(&query, None, |row| !known.contains(&row)).take(quota(fresh.quota)));
        Ok(rows.into_iter().filter_map(|row| query.catalog.id(row).map(|id| id.to_string())).collect())
    }

    /// Pins what the request needs.
    fn query(&self, ask: &Ask<'_>, breadth: Breadth) -> Result<Query, RecommendError> {
        not_too_many("exclude", ask.exclude.len())?;
        let catalog = ask.world.catalog.snapshot();
        let rankings = ask.world.state.rankings(ask.now);
        let mut excluded: HashSet<u32> = ask.exclude.iter().filter_map(|id| catalog.row(id)).collect();
        excluded.extend(ask.excluded.iter().chain(&ask.world.hidden));
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
        let enough = ask.candidates.max(ask.limit + reserve);
        let candidates = match breadth {
            _ if !admission.narrows() => enough,
            Breadth::Usual => (OVERSAMPLE * enough).min(MAX_CANDIDATES).max(enough),
            Breadth::Widest => MAX_CANDIDATES.max(enough),
        };
        // What the project's own conditions read is planned for already.
        let asked: Vec<_> = admission.on_features().flat_map(Compiled::features).collect();
        let told = ask.explain || (ask.logged && self.features.sampled(&ask.request_id));
        let of_user = admission.on_features().chain(boost.as_deref()).any(Compiled::reads_user_attributes);
        Ok(Query {
            now: ask.now,
            limit: ask.limit,
            reserve,
            candidates,
            weights: ask.weights,
            fresh_window: self.config.fresh_window,
            live: Arc::clone(&ask.world.catalog),
            generation: ask.world.generation.clone(),
            rankings,
            history: ask.history.clone(),
            boost,
            given,
            user_vector: Once::new(),
            taste: Once::new(),
            user_id: ask.user_id.map(str::to_owned),
            user_attributes: ask.attributes.filter(|_| of_user).cloned().unwrap_or_default(),
            context: ask.context.clone(),
            reading: self.features.reading(&asked, told),
            state: Arc::clone(&ask.world.state),
            admission,
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
        let who = |what: &'static str, condition: Arc<Condition>| {
            let rows = condition.attributes.as_ref().map(|part| catalog.bitmap(part.expr()));
            match rows.transpose() {
                Ok(rows) => Ok(Admitting { condition, rows }),
                Err(error) => Err(RecommendError::Evaluation { what, source: Box::new(error) }),
            }
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
        let rows = |condition: &Option<Admitting>| condition.as_ref().and_then(|admitting| admitting.rows.clone());
        let mut admitted = match (rows(&eligibility), rows(&filter)) {
            (Some(eligible), Some(passing)) => eligible.and(&passing),
            (Some(rows), None) | (None, Some(rows)) => Bitmap::clone(&rows),
            (None, None) => Bitmap::clone(&catalog.alive_rows()),
        };
        let seen: HashSet<u32> = ask.seen.iter().copied().collect();
        for row in excluded.iter().chain(&seen) {
            admitted.remove(*row);
        }
        Ok(Admission { eligibility, filter, excluded, seen, admitted })
    }

    fn run(&self, pipeline: &Pipeline<Query, Candidates>, query: &Query, ask: &Ask<'_>, budget: Duration) -> Answered {
        let Outcome { batch, trace } = pipeline.run_blocking(query, Candidates::new(ask.explain), budget);
        let mut degraded = ask.degraded.clone();
        for (stage, reason) in trace.missing() {
            let missing = format!("{stage}:{reason}");
            if !degraded.contains(&missing) {
                degraded.push(missing);
            }
        }
        let looked_at = trace.stage("feature_filter").map_or(0, |stage| stage.candidates_in);
        let columns = batch.rows.iter().zip(&batch.scores).zip(&batch.found_by);
        let items = columns.take(query.limit).map(|((row, score), found_by)| RecommendedItem {
            item_id: query.catalog.id(*row).map(|id| id.to_string()).unwrap_or_default(),
            score: *score,
            sources: sources::names(*found_by).collect(),
            attributes: self.attributes_of(&query.catalog, *row),
        });
        let log_values = ask.logged && self.features.sampled(&ask.request_id);
        let answer = Recommendation {
            items: items.collect(),
            request_id: ask.request_id.clone(),
            generation: query.generation.as_deref().map(ServingGeneration::version),
            degraded,
            at: query.now,
            features: batch.features.as_ref().map(|read| read.served(query.limit, &query.context, log_values)),
            explain: ask.explain.then(|| {
                let known = ask.attributes.is_some();
                explain(query, &batch, query.limit, trace, known, ask.attributes.cloned().unwrap_or_default())
            }),
        };
        Answered { answer, more: query.admission.narrows() && looked_at < query.admission.admitted.count() }
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

#[cfg(test)]
mod tests {
    use tastemaker_config::Config;
    use tastemaker_features::OnlineState;
    use tastemaker_features::set::FeatureSet;
    use tastemaker_pipeline::{Hydrator, OnFailure, Patch, StageContext, StageError};
    use tastemaker_store::Catalog;
    use tastemaker_types::{EntityUpsert, FeatureRow, FeatureValue, Position, Record, UpsertMode};

    use super::*;
    use crate::filters::FeatureFilter;
    use crate::hydrators::{ComputedFeatures, ItemAttributes, ItemFeatures, PairFeatures, UserFeatures};
    use crate::scorers::{Boost, Relevance};
    use crate::selectors::Best;
    use crate::sources::Given;

    /// A store of users' features that is away.
    struct Away;

    impl Hydrator<Query, Candidates> for Away {
        const NAME: &'static str = "user_features";
        const ON_FAILURE: OnFailure = UserFeatures::ON_FAILURE;
        type Columns = ();
        fn hydrate(&self, _: &Query, _: &Candidates, _: &StageContext) -> Result<Patch<()>, StageError> {
            Err(StageError::failed(std::io::Error::other("the store is away")))
        }
        fn apply(&self, _: &mut Candidates, _: Patch<()>) {}
    }

    /// What two items get whose user has a `rate` of 3, if that can be read.
    fn answer(settings: &str, away: bool) -> Recommendation {
        let project = format!(
            "{settings}\n[[feature_views]]\nname = \"rates\"\nentity = \"user\"\nfeatures = {{ rate = \"number\" }}\n"
        );
        let config: Config = toml::from_str(&project).unwrap();
        let catalog = Arc::new(Catalog::new(config.items.schema()));
        let features = Arc::new(FeatureSet::compile(&config).unwrap());
        let state = OnlineState::with_features(crate::state_options(&config), Arc::clone(&catalog), features);
        let item = |id: &str| {
            let (id, attributes, timestamp) = (id.to_owned(), Attributes::new(), Timestamp::EPOCH);
            Record::ItemUpsert(EntityUpsert { id, attributes, mode: UpsertMode::Replace, timestamp })
        };
        let rate = Record::FeatureRow(FeatureRow {
            view: "rates".to_owned(),
            user_id: Some("ann".to_owned()),
            item_id: None,
            event_timestamp: Timestamp::EPOCH,
            created: None,
            values: vec![("rate".to_owned(), FeatureValue::Number(3.0))],
        });
        let records: Vec<_> = (0..).map(Position).zip([item("a"), item("b"), rate]).collect();
        state.apply(&records);
        let recommender = Recommender::new(&config, catalog, Arc::new(state)).unwrap();
        let users =
            |wave: tastemaker_pipeline::Hydrators<_, _>| if away { wave.with(Away) } else { wave.with(UserFeatures) };
        let pipeline = Pipeline::new()
            .sources(|wave| wave.with(Given))
            .hydrators(|wave| users(wave).with(ItemFeatures).with(PairFeatures))
            .hydrators(|wave| wave.with(ComputedFeatures))
            .filters(|wave| wave.with(FeatureFilter))
            .hydrators(|wave| wave.with(ItemAttributes { capped: Vec::new() }))
            .scorer(Relevance)
            .scorer(Boost)
            .selector(Best);
        let world = recommender.world();
        let ask = Ask {
            now: Timestamp::EPOCH,
            user_id: Some("ann"),
            attributes: None,
            context: Attributes::new(),
            limit: 2,
            candidates: 2,
            filter: None,
            params: &BTreeMap::new(),
            exclude: &[],
            excluded: Vec::new(),
            history: Vec::new(),
            seen: Vec::new(),
            given: &["a".to_owned(), "b".to_owned()],
            weights: Weights { relevance: 0.0, similarity: 0.0, popularity: 0.0, freshness: 0.0 },
            world: &world,
            degraded: Vec::new(),
            logged: true,
            request_id: "r".to_owned(),
            explain: false,
        };
        recommender.answer_once(&pipeline, &ask).unwrap()
    }

    fn scores(answer: &Recommendation) -> Vec<f32> {
        answer.items.iter().map(|item| item.score).collect()
    }

    #[test]
    fn a_boost_whose_features_cannot_be_read_is_neutral() {
        let boost = "[recommend]\nboost = \"coalesce(user.rate, 7)\"";
        let whole = answer(boost, false);
        assert_eq!(scores(&whole), [3.0, 1.5]);
        assert!(whole.degraded.is_empty() && whole.features.is_some());
        let degraded = answer(boost, true);
        assert_eq!(scores(&degraded), [1.0, 0.5], "neither 3 times nor, as for an unknown user, 7 times");
        assert_eq!(degraded.degraded, ["user_features:error"]);
        assert!(degraded.features.is_none(), "what was not read is not logged");
    }

    #[test]
    fn eligibility_by_features_that_cannot_be_read_lets_nothing_pass() {
        let eligibility = "[recommend]\neligibility = \"coalesce(user.rate, 7) > 1\"";
        assert_eq!(answer(eligibility, false).items.len(), 2);
        let degraded = answer(eligibility, true);
        assert!(degraded.items.is_empty());
        assert_eq!(degraded.degraded, ["user_features:error", "feature_filter:error"]);
    }
}
