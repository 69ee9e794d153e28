//! Features on the way of a request: which are read for it, what was read, and what of that the log is told.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use tastemaker_config::Entity;
use tastemaker_features::set::{FeatureId, SharedFeatures, ValueType};
use tastemaker_features::{FeatureColumn, Fetched, FetchedItems, ReadPlan, feature_column};
use tastemaker_types::{Attributes, FeatureValue, Position, ServedFeatures};
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of values that are logged with one answer. A record of the log is not much larger; without values it is small.
const MAX_LOGGED_BYTES: usize = 512 * 1024;

/// What requests read, as the project's settings say.
pub(crate) struct FeaturePlans {
    set: SharedFeatures,
    /// What the project's expressions read.
    needed: Arc<ReadPlan>,
    /// That, what it is computed from, and what is only logged.
    told: Arc<ReadPlan>,
    /// Whether there are features of users with items, which are read from each pair.
    pairs: bool,
    /// The share of answers whose values are logged.
    share: f64,
}

/// What one request reads.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) plan: Arc<ReadPlan>,
    /// Whether pairs are read. Users and items always are, since their versions are logged.
    pub(crate) pairs: bool,
}

impl FeaturePlans {
    pub(crate) fn new(set: &SharedFeatures, needed: Vec<FeatureId>, logged: Vec<FeatureId>, share: f64) -> Self {
        let told = set.closure(&needed.iter().chain(&logged).copied().collect::<Vec<_>>());
        let views = set.views().iter().any(|view| view.entity == Entity::Pair);
        Self {
            needed: Arc::new(ReadPlan::new(set, needed)),
            told: Arc::new(ReadPlan::new(set, told)),
            pairs: views || !set.streams(Entity::Pair).is_empty(),
            set: Arc::clone(set),
            share,
        }
    }

    /// What a request reads whose own filter reads `asked`; none if nothing is needed. `told`: what is read is shown or logged, so that all of
    /// it is wanted, not just what expressions see. Else the features that are only logged count by their entities' versions alone.
    pub(crate) fn reading(&self, asked: &[FeatureId], told: bool) -> Option<Reading> {
        if asked.is_empty() && self.told.wanted().is_empty() {
            return None;
        }
        let base = if told { &self.told } else { &self.needed };
        let plan = if asked.iter().all(|id| base.wanted().contains(id)) {
            Arc::clone(base)
        } else {
            let mut wanted = base.wanted().to_vec();
            wanted.extend(asked);
            wanted = if told { self.set.closure(&wanted) } else { wanted };
            Arc::new(ReadPlan::new(&self.set, wanted))
        };
        Some(Reading { pairs: self.pairs || plan.needs(Entity::Pair), plan })
    }

    /// Whether the values of this answer are logged: the same for each of its runs, and for each server.
    pub(crate) fn sampled(&self, request_id: &str) -> bool {
        let uniform = (xxh3_64(request_id.as_bytes()) >> 11) as f64 / (1u64 << 53) as f64;
        uniform < self.share
    }
}

/// What was read of the entities, each at one moment, before expressions are computed.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) user: Option<Fetched>,
    pub(crate) items: Option<FetchedItems>,
    pub(crate) pairs: Option<Fetched>,
}

/// The features of the candidates, and the versions of the entities that they were read from.
#[derive(Debug)]
pub(crate) struct Features {
    plan: Arc<ReadPlan>,
    columns: Vec<FeatureColumn>,
    user_version: Option<Position>,
    catalog_version: Option<Position>,
    item_versions: Vec<Option<Position>>,
    pair_versions: Vec<Option<Position>>,
    /// Where each candidate stands in all of these: candidates are dropped and ordered, what was read stays.
    places: Vec<u32>,
}

impl Features {
    /// `columns` have a cell for each item that was read.
    pub(crate) fn new(plan: &Arc<ReadPlan>, columns: Vec<FeatureColumn>, reads: &Reads) -> Self {
        let items = reads.items.as_ref();
        let item_versions = items.map(|items| items.fetched.versions.clone()).unwrap_or_default();
        Self {
            columns,
            user_version: reads.user.as_ref().and_then(|user| user.versions.first().copied().flatten()),
            catalog_version: items.and_then(|items| items.catalog_version),
            pair_versions: reads.pairs.as_ref().map(|pairs| pairs.versions.clone()).unwrap_or_default(),
            places: (0..item_versions.len() as u32).collect(),
            item_versions,
            plan: Arc::clone(plan),
        }
    }

    /// Keeps these positions of the candidates.
    pub(crate) fn select(&mut self, positions: &[u32]) {
        self.places = super::candidates::pick(&self.places, positions);
    }

    /// The values of a feature, one for each candidate; none if it was not read.
    pub(crate) fn array(&self, id: FeatureId, value_type: ValueType) -> Option<ArrayRef> {
        let column = self.columns.iter().find(|column| column.id == id)?;
        let array = feature_column(value_type, &column.cells);
        if self.places.len() == column.cells.len() && self.places.is_sorted() {
            return Some(array);
        }
        arrow_select::take::take(&array, &UInt32Array::from(self.places.clone()), None).ok()
    }

    /// Each feature, `entity.name`, with its value for the candidate at `position`.
    pub(crate) fn of(&self, position: usize) -> impl Iterator<Item = (String, Option<&FeatureValue>)> {
        let place = self.places.get(position).map(|place| *place as usize);
        self.columns.iter().filter_map(move |column| {
            let value = place.and_then(|place| column.cells.get(place)).and_then(|cell| cell.value.as_ref());
            Some((self.name(column.id)?, value))
        })
    }

    fn name(&self, id: FeatureId) -> Option<String> {
        self.plan.set().feature(id).map(|feature| format!("{}.{}", feature.entity.name(), feature.name))
    }

    /// What the log is told of the first `served` candidates: with `values`, unless they are too large.
    pub(crate) fn served(&self, served: usize, context: &Attributes, values: bool) -> ServedFeatures {
        let places = || self.places.iter().take(served).map(|place| *place as usize);
        let versions = |of: &[Option<Position>]| places().map(|place| of.get(place).copied().flatten()).collect();
        let cells = |column: &FeatureColumn| {
            places().map(|place| column.cells.get(place).and_then(|cell| cell.value.clone())).collect()
        };
        let in_columns = |column: &FeatureColumn| {
            places().filter_map(|place| column.cells.get(place)?.value.as_ref().map(bytes)).sum::<usize>() + served
        };
        let values = values && self.columns.iter().map(in_columns).sum::<usize>() <= MAX_LOGGED_BYTES;
        let columns = || self.columns.iter().filter(|_| values);
        ServedFeatures {
            user_version: self.user_version,
            catalog_version: self.catalog_version,
            item_versions: versions(&self.item_versions),
            pair_versions: versions(&self.pair_versions),
            context: context.clone(),
            values: columns().filter_map(|column| Some((self.name(column.id)?, cells(column)))).collect(),
            fingerprints: columns().map(|column| self.plan.set().fingerprint(column.id)).collect(),
        }
    }
}

/// About what a value takes.
fn bytes(value: &FeatureValue) -> usize {
    match value {
        FeatureValue::Number(_) | FeatureValue::Bool(_) | FeatureValue::Time(_) => 8,
        FeatureValue::Text(text) => text.len(),
        FeatureValue::Texts(texts) => texts.iter().map(|text| text.len() + 4).sum(),
        FeatureValue::Vector(vector) => vector.len() * 4,
        FeatureValue::Map(map) => map.iter().map(|(name, _)| name.len() + 12).sum(),
    }
}
