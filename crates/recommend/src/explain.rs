//! The whole story of one answer, for people: what was known of the user, how the index was searched, what every stage did, what each item's
//! score is made of, and who was dropped and why. Only made when a request asks for it; it does not change the answer.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use tastemaker_pipeline::Trace;
use tastemaker_types::{Attributes, FeatureValue, Timestamp};

use crate::candidates::Candidates;
use crate::numeric::norm;
use crate::query::{Admitting, Query};

/// The most dropped candidates told.
const DROPPED_TOLD: usize = 100;
/// Nearest items that are looked at, admitted or not, to tell who was kept out.
const NEAREST_TOLD: usize = 50;
/// The most items of the history told.
const HISTORY_TOLD: usize = 20;

/// How an answer came about.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// What was known of the user, or of the item for similar items.
    pub user: UserExplanation,
    /// Items in the catalog, deleted ones left out.
    pub items_in_catalog: usize,
    /// Of those, the ones that may be in this answer: eligible, meeting the filter, not excluded, not met before.
    pub admitted: usize,
    /// How the index was searched with the user's vector, if it was.
    pub retrieval: Option<Retrieval>,
    /// Every stage, in order.
    pub trace: Trace,
    /// The items of the answer, in its order.
    pub items: Vec<ItemExplanation>,
    /// Items that were found, or lie near to the user, and are not in the answer because a filter kept them out. At most 100.
    pub dropped: Vec<Dropped>,
}

/// What was known of a user.
#[derive(Debug, Default, Serialize)]
pub struct UserExplanation {
    /// Whether there is such a user.
    pub known: bool,
    /// Liked items that could be used.
    pub history: usize,
    /// The latest of them, latest first, at most 20.
    pub latest: Vec<HistoryItem>,
    /// The length of the user's vector, if there is one.
    pub vector_norm: Option<f32>,
    /// Items left out because the user met them.
    pub seen: usize,
    /// What is known of the user otherwise.
    pub attributes: Attributes,
}

/// A liked item.
#[derive(Debug, Serialize)]
pub struct HistoryItem {
    /// The item.
    pub item_id: String,
    /// The sum of the weights of its positive events.
    pub weight: f32,
    /// The latest of them.
    pub at: Timestamp,
    /// Whether the generation has a vector for it.
    pub vector: bool,
}

/// One search of the vector index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retrieval {
    /// How it was carried out: `scan`, `filtered_scan`, `graph`, `filtered_graph` or `graph_then_scan`.
    pub plan: &'static str,
    /// Nearest items asked for.
    pub asked: usize,
    /// And found.
    pub found: usize,
    /// Vectors in the index.
    pub vectors: usize,
    /// Rows that the filter let pass, with a vector or without.
    pub admitted: usize,
    /// Vectors that were scored.
    pub scored: usize,
}

/// What one item's score is made of.
#[derive(Debug, Serialize)]
pub struct ItemExplanation {
    /// The item.
    pub item_id: String,
    /// Its final score.
    pub score: f32,
    /// Signals by name, before weights.
    pub signals: BTreeMap<&'static str, f32>,
    /// What each signal adds to the score; their sum is the score before the boost.
    pub contributions: BTreeMap<&'static str, f32>,
    /// The score after each scorer, in order.
    pub scored: Vec<(&'static str, f32)>,
    /// The features that were read for it, each `entity.name`; null where there is no value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, Json>,
}

/// An item that a filter kept out.
#[derive(Debug, PartialEq, Serialize)]
pub struct Dropped {
    /// The item.
    pub item_id: String,
    /// The filter.
    pub stage: &'static str,
    /// Why, in a few words.
    pub reason: &'static str,
    /// Its inner product with the user's vector, where it was found by that.
    pub inner_product: Option<f32>,
}

/// Tells the story of the first `served` candidates of `batch`.
pub(crate) fn explain(
    query: &Query,
    batch: &Candidates,
    served: usize,
    trace: Trace,
    known: bool,
    attributes: Attributes,
) -> Explanation {
    let latest = query.history.iter().take(HISTORY_TOLD).map(|liked| HistoryItem {
        item_id: id(query, liked.row),
        weight: liked.weight,
        at: liked.at,
        vector: query.generation.as_deref().is_some_and(|generation| generation.vector(liked.row).is_some()),
    });
    let vector = query.user_vector().ok().flatten();
    Explanation {
        user: UserExplanation {
            known,
            history: query.history.len(),
            latest: latest.collect(),
            vector_norm: vector.map(|(_, vector)| norm(vector)),
            seen: query.admission.seen.len(),
            attributes,
        },
        items_in_catalog: query.catalog.alive_rows().count(),
        admitted: query.admission.admitted.count(),
        retrieval: batch.retrieval.clone(),
        trace,
        items: (0..served.min(batch.rows.len())).map(|position| item(query, batch, position)).collect(),
        dropped: dropped(query, batch),
    }
}

fn id(query: &Query, row: u32) -> String {
    query.catalog.id(row).map(|id| id.to_string()).unwrap_or_default()
}

fn item(query: &Query, batch: &Candidates, position: usize) -> ItemExplanation {
    let row = batch.rows.get(position).copied().unwrap_or_default();
    let mut signals = BTreeMap::new();
    let mut contributions = BTreeMap::new();
    if let Some(columns) = &batch.signals {
        let weights = query.weights;
        for (name, column, weight) in [
            ("relevance", &columns.relevance, weights.relevance),
            ("similarity", &columns.similarity, weights.similarity),
            ("popularity", &columns.popularity, weights.popularity),
            ("freshness", &columns.freshness, weights.freshness),
        ] {
            let value = column.get(position).copied().unwrap_or(0.0);
            signals.insert(name, value);
            contributions.insert(name, weight * value);
        }
    }
    let features = batch.features.iter().flat_map(|features| features.of(position));
    let scored = batch.story.iter().flat_map(|story| &story.scored);
    ItemExplanation {
        item_id: id(query, row),
        score: batch.scores.get(position).copied().unwrap_or(0.0),
        signals,
        contributions,
        scored: scored.filter_map(|(scorer, scores)| Some((*scorer, *scores.get(&row)?))).collect(),
        features: features.map(|(name, value)| (name, value.map_or(Json::Null, plain))).collect(),
    }
}

/// A value as people write it.
fn plain(value: &FeatureValue) -> Json {
    match value {
        FeatureValue::Number(number) => (*number).into(),
        FeatureValue::Text(text) => text.as_str().into(),
        FeatureValue::Bool(value) => (*value).into(),
        FeatureValue::Time(at) => at.to_string().into(),
        FeatureValue::Texts(texts) => texts.clone().into(),
        FeatureValue::Vector(vector) => vector.clone().into(),
        FeatureValue::Map(map) => {
            Json::Object(map.iter().map(|(name, number)| (name.clone(), (*number).into())).collect())
        }
    }
}

/// The candidates that filters dropped, and those that retrieval did not look at because they are not admitted though they are near.
fn dropped(query: &Query, batch: &Candidates) -> Vec<Dropped> {
    let on_the_way = batch.story.iter().flat_map(|story| &story.dropped).map(|dropped| Dropped {
        item_id: id(query, dropped.row),
        stage: dropped.stage,
        reason: dropped.reason,
        inner_product: None,
    });
    let nearest = query
        .user_vector()
        .ok()
        .flatten()
        .and_then(|(generation, vector)| generation.nearest(vector, NEAREST_TOLD, None).ok());
    let kept_out = nearest.into_iter().flat_map(|hits| hits.hits).filter_map(|hit| {
        let (stage, reason) = why_not(query, hit.row)?;
        Some(Dropped { item_id: id(query, hit.row), stage, reason, inner_product: Some(hit.score) })
    });
    on_the_way.chain(kept_out).take(DROPPED_TOLD).collect()
}

/// The first rule that keeps a row out.
fn why_not(query: &Query, row: u32) -> Option<(&'static str, &'static str)> {
    let admission = &query.admission;
    let kept_out = |condition: &Option<Admitting>| {
        condition.as_ref().and_then(|admitting| admitting.rows.as_ref()).is_some_and(|rows| !rows.contains(row))
    };
    if !query.catalog.alive(row) {
        Some(("eligibility", "deleted"))
    } else if kept_out(&admission.eligibility) {
        Some(("eligibility", "not eligible"))
    } else if kept_out(&admission.filter) {
        Some(("request_filter", "does not meet the filter"))
    } else if admission.excluded.contains(&row) {
        Some(("excluded", "excluded by the request"))
    } else if admission.seen.contains(&row) {
        Some(("seen", "met before"))
    } else {
        None
    }
}
