//! How a recommendation is made: `[recommend]`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tastemaker_types::{AttributeType, Window};

/// Which items a user has met are left out of their recommendations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExcludeSeen {
    /// None: anything may come again.
    None,
    /// Items with a positive event.
    Positive,
    /// Items with any event, impressions included.
    All,
}

/// `[recommend]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecommendConfig {
    /// Items in an answer when a request does not say.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: usize,
    /// The most items that a request may ask for.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_limit: usize,
    /// Candidates that are retrieved, filtered and scored for one answer.
    #[schemars(range(min = 1, max = 100_000))]
    pub candidates: usize,
    /// A SQL condition that every recommended item meets, such as `available AND price > 0`: over item attributes, features, user attributes
    /// and `context`.
    pub eligibility: Option<String>,
    /// A SQL number that multiplies the score, such as `1 + 0.2 * (item.ctr_7d > 0.1)`: over item attributes, features, user attributes and
    /// `context`.
    pub boost: Option<String>,
    /// The time for one answer. What is not ready by then is left out, and the answer says so.
    pub budget: Window,
    /// Shorter times for single stages by name, such as `embedding = "20ms"`.
    pub deadlines: IndexMap<String, Window>,
    /// Where candidates come from.
    pub sources: SourcesConfig,
    /// Popularity counts positive events of this long.
    pub popular_window: Window,
    /// An item is fresh for this long after it was first seen.
    pub fresh_window: Window,
    /// Which items a user has met are left out: `none`, `positive` (those with a positive event) or `all`.
    pub exclude_seen: ExcludeSeen,
    /// The latest positive events of a user that make their vector.
    #[schemars(range(min = 1, max = 10_000))]
    pub history_length: usize,
    /// The latest items that a user has met which are remembered for `exclude_seen`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub seen_length: usize,
    /// Variety within one answer.
    pub diversity: DiversityConfig,
    /// The item attributes an answer carries. Left out: all.
    pub attributes: Option<Vec<String>>,
    /// Parameters of a request that expressions may read as `context.NAME`, with their types.
    pub context: IndexMap<String, AttributeType>,
    /// Features that are logged with answers though no expression needs them, such as `["user.recent_click_count"]`: for training a ranker
    /// later.
    pub features: Vec<String>,
    /// The share of answers whose feature values are logged with them, for `tastemaker features validate`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub log_features: f64,
    /// How often the server computes the logged values again, as `tastemaker features validate` does, and counts what differs: it replays
    /// the log on a thread that works half of the time. Left out: never.
    pub validate_every: Option<Window>,
}

impl Default for RecommendConfig {
    fn default() -> Self {
        Self {
            limit: 10,
            max_limit: 1_000,
            candidates: 500,
            eligibility: None,
            boost: None,
            budget: Window::from_millis(50),
            deadlines: IndexMap::new(),
            sources: SourcesConfig::default(),
            popular_window: Window::from_days(30),
            fresh_window: Window::from_days(14),
            exclude_seen: ExcludeSeen::Positive,
            history_length: 200,
            seen_length: 5_000,
            diversity: DiversityConfig::default(),
            attributes: None,
            context: IndexMap::new(),
            features: Vec::new(),
            log_features: 0.01,
            validate_every: None,
        }
    }
}

/// `[recommend.sources]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourcesConfig {
    /// The items whose vectors are nearest to the user's.
    pub embedding: SourceConfig,
    /// The items nearest to what the user liked last. Candidates of its own cost a search beside that by the user's vector, so it gives none
    /// unless told to; similarity to what was liked last counts among the candidates of the others.
    pub item_to_item: SourceConfig,
    /// The most popular items of `popular_window`.
    pub popular: SourceConfig,
    /// The newest items of `fresh_window`.
    pub fresh: SourceConfig,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        let source = |weight: f64, quota: Option<usize>| SourceConfig { enabled: true, weight, quota };
        Self {
            embedding: source(1.0, None),
            item_to_item: source(0.5, Some(0)),
            popular: source(0.1, Some(100)),
            fresh: source(0.1, Some(50)),
        }
    }
}

/// One of `[recommend.sources]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Whether it is there at all.
    pub enabled: bool,
    /// What its scores are multiplied by when sources are put together.
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub weight: f64,
    /// The most candidates it gives; 0: none, its weight counts among those of the others. Left out: up to `recommend.candidates`.
    #[schemars(range(min = 0, max = 100_000))]
    pub quota: Option<usize>,
}

impl SourceConfig {
    /// Whether it is asked for candidates.
    pub fn gives(&self) -> bool {
        self.enabled && self.quota != Some(0)
    }
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self { enabled: true, weight: 1.0, quota: None }
    }
}

/// `[recommend.diversity]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiversityConfig {
    /// The most items of an answer that share one value of an attribute, such as `category = 3`.
    pub max_per: IndexMap<String, usize>,
    /// Maximal marginal relevance (Carbonell, Goldstein 1998): 1 looks at the score alone, 0 at difference from the
    /// items already chosen alone. Left out: not used.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mmr_lambda: Option<f64>,
}
