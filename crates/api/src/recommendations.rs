//! Recommendations, similar items and ranking as clients ask for them and get them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tastemaker_types::Attributes;
use utoipa::{IntoParams, ToSchema};

use crate::entities::AttributeValues;

/// A value bound to a name of a filter (`price < :most`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ParamValue {
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text, or a time in RFC 3339.
    Text(String),
    /// Values for `IN (:name)`.
    #[schema(no_recursion)]
    List(Vec<ParamValue>),
}

/// Asks for the best items for a user.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecommendationsRequest {
    /// For whom. A user without history gets popular and fresh items.
    #[schema(example = "user-1")]
    pub user_id: String,
    /// How many items, 1 to 1000; the project's `recommend.limit` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 10)]
    pub limit: Option<usize>,
    /// An SQL expression over item attributes, features, user attributes and `context`; only items for which it is true are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "category = 'electronics' AND price < :most")]
    pub filter: Option<String>,
    /// Values of the names in the filter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ParamValue>,
    /// Parameters that the project declares in `[recommend.context]`, by name: expressions read them as `context.NAME`.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = Option<AttributeValues>)]
    pub context: Attributes,
    /// Ids of items to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether items that the user has seen may be answered; the project's policy if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_seen: Option<bool>,
    /// How many candidates to consider; the project's setting if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Whether to tell how the answer came about.
    #[serde(default)]
    pub explain: bool,
}

/// As [`RecommendationsRequest`], in a query string.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RecommendationsQuery {
    /// How many items, 1 to 1000; the project's `recommend.limit` if left out.
    pub limit: Option<usize>,
    /// An SQL expression over item attributes, features, user attributes and `context`.
    pub filter: Option<String>,
    /// Parameters that the project declares in `[recommend.context]`, as a JSON object.
    #[param(example = "{\"device\": \"phone\"}")]
    pub context: Option<String>,
    /// Whether items that the user has seen may be answered.
    pub include_seen: Option<bool>,
    /// How many candidates to consider.
    pub candidates: Option<usize>,
    /// Whether to tell how the answer came about.
    #[serde(default)]
    pub explain: bool,
}

impl RecommendationsQuery {
    /// The same as a request for `user_id`, without the context, which is JSON of its own.
    pub fn for_user(self, user_id: String) -> RecommendationsRequest {
        RecommendationsRequest {
            user_id,
            limit: self.limit,
            filter: self.filter,
            include_seen: self.include_seen,
            candidates: self.candidates,
            explain: self.explain,
            ..RecommendationsRequest::default()
        }
    }
}

/// Asks for items like one item.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SimilarQuery {
    /// How many items, 1 to 1000; the project's `recommend.limit` if left out.
    pub limit: Option<usize>,
    /// An SQL expression over item attributes, features, user attributes and `context`.
    pub filter: Option<String>,
    /// Parameters that the project declares in `[recommend.context]`, as a JSON object.
    #[param(example = "{\"device\": \"phone\"}")]
    pub context: Option<String>,
    /// Whether to tell how the answer came about.
    #[serde(default)]
    pub explain: bool,
}

/// Asks for an order of given items for a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RankRequest {
    /// For whom.
    #[schema(example = "user-1")]
    pub user_id: String,
    /// The items to order, at most 10,000.
    pub items: Vec<String>,
    /// Parameters that the project declares in `[recommend.context]`, by name: expressions read them as `context.NAME`.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = Option<AttributeValues>)]
    pub context: Attributes,
    /// Whether to tell how the answer came about.
    #[serde(default)]
    pub explain: bool,
}

/// One item of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendedItem {
    /// The item.
    #[schema(example = "item-1")]
    pub item_id: String,
    /// Its final score; larger is better, comparable within one answer only.
    pub score: f32,
    /// Where it came from: `embedding`, `item_to_item`, `popular`, `fresh`, `fill`; `given` when ranking.
    pub sources: Vec<String>,
    /// Its attributes.
    #[schema(value_type = AttributeValues)]
    pub attributes: Attributes,
}

/// Items, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendationsResponse {
    /// Send it as `request_id` of the events that follow from this answer.
    pub request_id: String,
    /// The user asked for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The items, best first.
    pub items: Vec<RecommendedItem>,
    /// The generation that made the answer; null before the first training.
    pub generation: Option<u64>,
    /// Why the answer is less than whole; empty if it is whole. `no_generation` before the first training, `no_vector`, or
    /// `stage:reason` for a stage that took no part.
    pub degraded: Vec<String>,
    /// How the answer came about, if `explain` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub explain: Option<serde_json::Value>,
}
