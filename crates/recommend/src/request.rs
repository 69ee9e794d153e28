//! What callers ask for and what they get.

use std::collections::BTreeMap;

use serde::Serialize;
use tastemaker_expr::Bind;
use tastemaker_types::{Attributes, ServedFeatures, Timestamp};

use crate::Explanation;

/// The most candidates that one request may retrieve.
pub const MAX_CANDIDATES: usize = 10_000;
/// The most ids in one request: to exclude, or to rank.
pub const MAX_IDS: usize = 10_000;

/// Asks for the best items for a user. `RecommendRequest { user_id, ..Default::default() }` is a whole request.
#[derive(Debug, Clone, Default)]
pub struct RecommendRequest {
    /// For whom. A user without history gets popular and fresh items.
    pub user_id: String,
    /// How many items, from 1 to the project's `recommend.max_limit`; the project's `recommend.limit` if left out.
    pub limit: Option<usize>,
    /// A SQL condition that every item of the answer meets: over item attributes, features, user attributes and the context.
    pub filter: Option<String>,
    /// Values of the `:names` in the filter.
    pub params: BTreeMap<String, Bind>,
    /// Parameters that the project declares in `[recommend.context]`, which expressions read as `context.NAME`; those that are left out are
    /// NULL.
    pub context: Attributes,
    /// Ids of items to leave out.
    pub exclude: Vec<String>,
    /// Whether items that the user has met may come; the project's policy if left out.
    pub include_seen: Option<bool>,
    /// How many candidates to retrieve; the project's setting if left out.
    pub candidates: Option<usize>,
    /// Whether to tell how the answer came about.
    pub explain: bool,
    /// The time it is; the clock's if left out.
    pub now: Option<Timestamp>,
    /// What the answer is called; a new UUID (version 7) if left out.
    pub request_id: Option<String>,
}

/// Asks for items like one item. There is no user: features of users and pairs are as those of one of whom nothing is known.
#[derive(Debug, Clone, Default)]
pub struct SimilarRequest {
    /// Like which item.
    pub item_id: String,
    /// As in [`RecommendRequest`].
    pub limit: Option<usize>,
    /// As in [`RecommendRequest`].
    pub filter: Option<String>,
    /// As in [`RecommendRequest`].
    pub params: BTreeMap<String, Bind>,
    /// As in [`RecommendRequest`].
    pub context: Attributes,
    /// As in [`RecommendRequest`].
    pub exclude: Vec<String>,
    /// As in [`RecommendRequest`].
    pub explain: bool,
    /// As in [`RecommendRequest`].
    pub now: Option<Timestamp>,
    /// As in [`RecommendRequest`].
    pub request_id: Option<String>,
}

/// Asks for an order of given items for a user. Unknown and ineligible items are left out; seen ones are not.
#[derive(Debug, Clone, Default)]
pub struct RankRequest {
    /// For whom.
    pub user_id: String,
    /// The items to order, at most [`MAX_IDS`]; an item that is there twice is ranked once.
    pub items: Vec<String>,
    /// As in [`RecommendRequest`].
    pub context: Attributes,
    /// As in [`RecommendRequest`].
    pub explain: bool,
    /// As in [`RecommendRequest`].
    pub now: Option<Timestamp>,
    /// As in [`RecommendRequest`].
    pub request_id: Option<String>,
}

/// An answer: items, best first.
#[derive(Debug, Serialize)]
pub struct Recommendation {
    /// To be sent with the events that follow from this answer.
    pub request_id: String,
    /// Best first.
    pub items: Vec<RecommendedItem>,
    /// The generation that made the answer; none before the first training.
    pub generation: Option<u64>,
    /// Why the answer is less than whole: `no_generation`, `no_vector`, or `stage:reason` for a stage that took no part, where reason is `error`,
    /// `panic`, `deadline`, `invalid` or `budget`.
    pub degraded: Vec<String>,
    /// How the answer came about, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
    /// The moment that it was made for: features were read as of then.
    #[serde(skip)]
    pub at: Timestamp,
    /// The features that it was made with, for the log; none if none were needed or could be read. Values are there in the share
    /// `recommend.log_features` of the answers for users.
    #[serde(skip)]
    pub features: Option<ServedFeatures>,
}

/// One item of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecommendedItem {
    /// The item.
    pub item_id: String,
    /// Its final score; larger is better, comparable within one answer only.
    pub score: f32,
    /// The sources that found it.
    pub sources: Vec<&'static str>,
    /// Its attributes, those that the project's `recommend.attributes` names.
    pub attributes: Attributes,
}
