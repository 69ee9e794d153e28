//! Which stages make which answer, as the project's settings say.

use std::time::Duration;

use tastemaker_config::{Config, ExcludeSeen, RecommendConfig};
use tastemaker_features::{EventMeaning, SeenBy, StateOptions};
use tastemaker_pipeline::Pipeline;
use tastemaker_types::{AttributeSchema, did_you_mean};

use crate::SetupError;
use crate::candidates::Candidates;
use crate::filters::{Eligibility, Excluded, FeatureFilter, RequestFilter, SeenBefore, StillEligible};
use crate::hydrators::{ComputedFeatures, ItemAttributes, ItemFeatures, PairFeatures, Similarities, UserFeatures};
use crate::query::{Query, Weights};
use crate::scorers::{Boost, Relevance};
use crate::selectors::{Best, Diversity};
use crate::sources::{Embedding, Fill, Fresh, Given, ItemToItem, Popular};

type Stages = Pipeline<Query, Candidates>;

/// What the online state must remember for the recommender that `config` describes.
pub fn state_options(config: &Config) -> StateOptions {
    let meaning = |settings: &tastemaker_config::EventTypeConfig| EventMeaning {
        positive: settings.positive,
        weight: settings.weight as f32,
        min_value: settings.min_value,
    };
    StateOptions {
        events: config.events.iter().map(|(name, settings)| (name.to_owned(), meaning(settings))).collect(),
        history_length: config.recommend.history_length,
        seen_length: config.recommend.seen_length,
        seen_by: match config.recommend.exclude_seen {
            ExcludeSeen::None => SeenBy::Nothing,
            ExcludeSeen::Positive => SeenBy::Positive,
            ExcludeSeen::All => SeenBy::Anything,
        },
        popular_window: config.recommend.popular_window,
    }
}

/// What each signal counts: the weight of the source it belongs to, and nothing where that is off.
pub(crate) fn weights(config: &RecommendConfig) -> Weights {
    let weight = |source: &tastemaker_config::SourceConfig| if source.enabled { source.weight as f32 } else { 0.0 };
    Weights {
        relevance: weight(&config.sources.embedding),
        similarity: weight(&config.sources.item_to_item),
        popularity: weight(&config.sources.popular),
        freshness: weight(&config.sources.fresh),
    }
}

/// The three pipelines.
pub(crate) struct Pipelines {
    pub(crate) for_user: Stages,
    pub(crate) like_item: Stages,
    pub(crate) given: Stages,
}

impl Pipelines {
    /// `features`: whether there are any to read.
    pub(crate) fn new(
        config: &RecommendConfig,
        attributes: &AttributeSchema,
        features: bool,
    ) -> Result<Self, SetupError> {
        let capped: Vec<usize> = config
            .diversity
            .max_per
            .keys()
            .map(|name| place("diversity.max_per", attributes, name))
            .collect::<Result<_, _>>()?;
        let caps = config.diversity.max_per.iter().map(|(name, cap)| (name.clone(), *cap as u32)).collect();
        let diversity = Diversity { caps, mmr_lambda: config.diversity.mmr_lambda.map(|lambda| lambda as f32) };

        let sources = &config.sources;
        let for_user = Stages::new()
            .sources(|mut wave| {
                if sources.embedding.gives() {
                    wave = wave.with(Embedding { quota: sources.embedding.quota });
                }
                if sources.item_to_item.gives() {
                    wave = wave.with(ItemToItem { quota: sources.item_to_item.quota });
                }
                if sources.popular.gives() {
                    wave = wave.with(Popular { quota: sources.popular.quota });
                }
                if sources.fresh.gives() {
                    wave = wave.with(Fresh { quota: sources.fresh.quota });
                }
                wave
            })
            .sources(|wave| wave.with(Fill));
        let like_item =
            Stages::new().sources(|wave| wave.with(ItemToItem { quota: None })).sources(|wave| wave.with(Fill));
        let given = Stages::new().sources(|wave| wave.with(Given));

        let mut pipelines = Self {
            for_user: scored(for_user, capped, features).selector(diversity).filters(|wave| wave.with(StillEligible)),
            like_item: scored(like_item, Vec::new(), features).selector(Best).filters(|wave| wave.with(StillEligible)),
            given: scored(given, Vec::new(), features).selector(Best).filters(|wave| wave.with(StillEligible)),
        };
        for (stage, window) in &config.deadlines {
            pipelines.set_deadline(stage, window.to_duration())?;
        }
        Ok(pipelines)
    }

    fn set_deadline(&mut self, stage: &str, limit: Duration) -> Result<(), SetupError> {
        let pipelines = [&mut self.for_user, &mut self.like_item, &mut self.given];
        let mut names = Vec::new();
        let mut found = false;
        for pipeline in pipelines {
            found |= pipeline.set_deadline(stage, limit);
            names.extend(pipeline.stages());
        }
        names.sort_unstable();
        names.dedup();
        if found {
            return Ok(());
        }
        Err(SetupError::UnknownStage { name: stage.to_owned(), hint: did_you_mean(stage, names) })
    }
}

/// What happens to candidates wherever they come from.
fn scored(sources: Stages, capped: Vec<usize>, features: bool) -> Stages {
    let mut stages = sources.filters(|wave| wave.with(Eligibility).with(RequestFilter).with(Excluded).with(SeenBefore));
    if features {
        stages = stages
            .hydrators(|wave| wave.with(UserFeatures).with(ItemFeatures).with(PairFeatures))
            .hydrators(|wave| wave.with(ComputedFeatures));
    }
    stages
        .filters(|wave| wave.with(FeatureFilter))
        .hydrators(|wave| wave.with(ItemAttributes { capped }).with(Similarities))
        .scorer(Relevance)
        .scorer(Boost)
}

/// The place of an attribute in the declaration.
pub(crate) fn place(key: &'static str, attributes: &AttributeSchema, name: &str) -> Result<usize, SetupError> {
    let names = || attributes.fields().iter().map(|(name, _)| name.as_str());
    names().position(|known| known == name).ok_or_else(|| SetupError::UnknownAttribute {
        key,
        name: name.to_owned(),
        hint: did_you_mean(name, names()),
    })
}
