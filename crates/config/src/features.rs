//! The feature store's definitions: `[[features]]`, `[[feature_views]]` and `[feature_services]`.

use std::borrow::Cow;
use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tastemaker_types::Window;

/// What a feature is a property of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A user.
    User,
    /// An item.
    Item,
    /// A user with an item.
    Pair,
}

impl Entity {
    /// As in the project file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Pair => "pair",
        }
    }
}

/// What a streaming feature computes of an entity's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AggregateKind {
    /// How many events.
    Count,
    /// The sum of `value`.
    Sum,
    /// The mean of `value`.
    Mean,
    /// The least `value`.
    Min,
    /// The greatest `value`.
    Max,
    /// The population variance of `value`.
    Variance,
    /// The latest `value`.
    Last,
    /// The latest `k` values, latest first.
    LastK,
    /// How many distinct values (approximate beyond 512).
    Distinct,
    /// The `k` most frequent values with their counts.
    TopK,
    /// Events of `events` per event of `per`, smoothed by `prior` and `prior_mean`.
    Rate,
    /// Seconds since the latest event.
    TimeSinceLast,
    /// Seconds from the first to the last event of the current session.
    SessionDuration,
    /// How many events the current session has.
    SessionEventCount,
    /// The distinct values of the current session, latest first.
    SessionItems,
    /// The sum of `value`, halved every `half_life`.
    Decayed,
}

/// One of `[[features]]`: a streaming aggregate over events, or an expression over other features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// Whose property it is: `user`, `item` or `pair` (a user with an item).
    pub entity: Entity,
    /// Its name, unique within the entity. Expressions call it `user.NAME`, `item.NAME` or `pair.NAME`.
    pub name: String,
    /// What is computed of the entity's events. Give this or `expression`.
    #[serde(default)]
    pub aggregate: Option<AggregateKind>,
    /// An SQL expression over features, attributes and request parameters (`user.x`, `item.y`, `pair.z`, `context.w`). Give
    /// this or `aggregate`.
    #[serde(default)]
    pub expression: Option<String>,
    /// The types of events that count. Left out: all.
    #[serde(default)]
    pub events: Vec<String>,
    /// A condition on the event: `value`, `type`, `user_id`, `item_id`, `session_id`, `request_id`, `timestamp`, and the
    /// item's attributes as they were when the event was logged (`item.category`).
    #[serde(default)]
    pub filter: Option<String>,
    /// What is aggregated, an expression over the same columns. Left out: the event's `value`; for `last`, `last_k`,
    /// `distinct`, `top_k` and `session_items` the other side of the event: its item, for an item its user.
    #[serde(default)]
    pub value: Option<String>,
    /// One value for each value of this expression, such as `item.category`. At most `max_groups` of them.
    #[serde(default)]
    pub group_by: Option<String>,
    /// The most groups of one entity; the one whose latest event is the earliest goes first. Left out: 64.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub max_groups: Option<u32>,
    /// The time that is looked back on, such as `30m` or `7d`. Left out: since ever.
    #[serde(default)]
    pub window: Option<Window>,
    /// The longest pause within a session, such as `30m`.
    #[serde(default)]
    pub gap: Option<Window>,
    /// The time in which a value decays to its half.
    #[serde(default)]
    pub half_life: Option<Window>,
    /// How many values `last_k`, `top_k` and `session_items` hold. Left out: 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub k: Option<u32>,
    /// The types of events that a `rate` is per, such as `["impression"]`.
    #[serde(default)]
    pub per: Vec<String>,
    /// How many events of `per` the prior of a `rate` is worth. Left out: 0.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1_000_000_000.0))]
    pub prior: Option<f64>,
    /// A `rate` before anything is known. Left out: 0.
    #[serde(default)]
    pub prior_mean: Option<f64>,
    /// A value whose latest event is longer ago counts as absent (`OUTSIDE_MAX_AGE`). Left out: never.
    #[serde(default)]
    pub ttl: Option<Window>,
    /// What is given where there is no value: a number, true or false, or a text, as the feature is; the status still says why.
    /// Left out: null.
    #[serde(default)]
    pub default: Option<DefaultValue>,
    /// The feature view that it is listed under. Left out: the name of its entity.
    #[serde(default)]
    pub view: Option<String>,
    /// What it means, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Labels of the user's choice.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The type of a batch feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A finite 64-bit float.
    Number,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// An instant.
    Time,
    /// A list of texts.
    Texts,
    /// A list of 32-bit floats.
    Vector,
}

/// What is given where a feature has no value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DefaultValue {
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
}

impl JsonSchema for DefaultValue {
    fn schema_name() -> Cow<'static, str> {
        "DefaultValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "boolean", "string"] })
    }
}

/// One of `[[feature_views]]`: features that are computed elsewhere and brought in, from a Parquet table, an SQL query over the log, or by push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureViewConfig {
    /// Its name, unique among feature views.
    pub name: String,
    /// Whose properties these are.
    pub entity: Entity,
    /// Names and types of the features.
    pub features: IndexMap<String, FeatureKind>,
    /// By feature: what is given where it has no value, as for `[[features]]`.
    #[serde(default)]
    pub defaults: IndexMap<String, DefaultValue>,
    /// A Parquet file, a folder of them, or a pattern such as `stats/*.parquet`; relative to the project file. Without
    /// `path`, `query` and `query_file` the view is filled by `POST /push` alone.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// An SQL query over the tables of `tastemaker sql`, whose answer has the columns that a table would have. Without the
    /// column `event_timestamp` a row holds since the query ran. Instead of `path`.
    #[serde(default)]
    pub query: Option<String>,
    /// A file with such a query; relative to the project file. Instead of `query`.
    #[serde(default)]
    pub query_file: Option<PathBuf>,
    /// The column with the user's id.
    #[serde(default = "user_column")]
    pub user_column: String,
    /// The column with the item's id.
    #[serde(default = "item_column")]
    pub item_column: String,
    /// The column that says since when a row holds.
    #[serde(default = "event_time_column")]
    pub event_time_column: String,
    /// The column that says when a row was written. Left out: at its event time.
    #[serde(default)]
    pub created_time_column: Option<String>,
    /// A row whose event time is longer ago counts as absent (`OUTSIDE_MAX_AGE`). Left out: never.
    #[serde(default)]
    pub ttl: Option<Window>,
    /// What it means, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Labels of the user's choice.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl FeatureViewConfig {
    /// The column of event times unless another is named.
    pub const EVENT_TIME_COLUMN: &str = "event_timestamp";

    /// Whether its rows are the answer to a query.
    pub fn is_query(&self) -> bool {
        self.query.is_some() || self.query_file.is_some()
    }
}

fn user_column() -> String {
    "user_id".to_owned()
}

fn item_column() -> String {
    "item_id".to_owned()
}

fn event_time_column() -> String {
    FeatureViewConfig::EVENT_TIME_COLUMN.to_owned()
}
