//! An answer that is ahead in the replay of the log: what it has read, and what was read for it again so far.

use std::sync::Arc;

use tastemaker_config::Entity;
use tastemaker_types::{Attributes, Position, Served, ServedFeatures, Timestamp};

use super::OfflineError;
use super::replay::Missed;
use crate::read::FetchedAttributes;
use crate::{FeatureColumn, Fetched, ReadPlan};

const ENTITIES: [Entity; 3] = [Entity::User, Entity::Item, Entity::Pair];

/// An answer ahead, and what was read for it so far.
pub(super) struct Pending {
    pub(super) plan: Arc<ReadPlan>,
    pub(super) user_id: String,
    pub(super) items: Vec<String>,
    pub(super) now: Timestamp,
    pub(super) cells: usize,
    pub(super) user: Option<Fetched>,
    pub(super) of_items: Vec<Option<Fetched>>,
    pub(super) attributes: Option<FetchedAttributes>,
    pub(super) pairs: Vec<Option<Fetched>>,
    pub(super) missed: Option<Missed>,
}

/// Something that an answer has read at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    User,
    Item(usize),
    Pair(usize),
    /// The attributes of all items.
    Catalog,
}

/// The kind of entity that the plan needs and the answer has not read.
fn not_read(served: &Served, features: &ServedFeatures, plan: &ReadPlan) -> Option<Missed> {
    let unread = |entity: &Entity| {
        let versions = match entity {
            Entity::User => None,
            Entity::Item => Some(&features.item_versions),
            Entity::Pair => Some(&features.pair_versions),
        };
        let stage = format!("{}_features", entity.name());
        versions.is_some_and(|versions| versions.len() != served.items.len())
            || served.degraded.iter().any(|degraded| degraded.starts_with(&stage))
    };
    ENTITIES.into_iter().filter(|entity| plan.needs(*entity)).find(unread).map(Missed::NotRead)
}

impl Pending {
    pub(super) fn new(served: &Served, features: &ServedFeatures, plan: Arc<ReadPlan>) -> Self {
        let items = served.items.len();
        let per_item: usize = ENTITIES.iter().map(|entity| plan.stored(*entity).len()).sum();
        Self {
            user_id: served.user_id.clone(),
            items: served.items.iter().map(|item| item.item_id.clone()).collect(),
            now: served.timestamp,
            cells: items.max(1) * (per_item + 1),
            user: None,
            of_items: vec![None; items],
            attributes: None,
            pairs: vec![None; items],
            missed: not_read(served, features, &plan),
            plan,
        }
    }

    /// What the answer has read that is wanted, each at its version.
    pub(super) fn parts(&self, features: &ServedFeatures) -> Vec<(Part, Option<Position>)> {
        let mut parts = Vec::new();
        if self.missed.is_some() {
            return parts;
        }
        if self.plan.needs(Entity::User) {
            parts.push((Part::User, features.user_version));
        }
        if !self.plan.stored(Entity::Item).is_empty() {
            parts.extend(features.item_versions.iter().enumerate().map(|(item, version)| (Part::Item(item), *version)));
        }
        if self.plan.needs(Entity::Pair) {
            parts.extend(features.pair_versions.iter().enumerate().map(|(item, version)| (Part::Pair(item), *version)));
        }
        if !self.plan.item_attributes().is_empty() {
            parts.push((Part::Catalog, features.catalog_version));
        }
        parts
    }

    /// The columns; the answer is missed if a part of it was never there to be read.
    pub(super) fn finish(self, served: &Served) -> Result<Result<Vec<FeatureColumn>, Missed>, OfflineError> {
        if let Some(missed) = self.missed {
            return Ok(Err(missed));
        }
        if served.items.is_empty() {
            // It has no values to compare.
            return Ok(Ok(Vec::new()));
        }
        let mut fetched: Vec<(Entity, Fetched)> = Vec::new();
        if self.plan.needs(Entity::User) {
            let Some(user) = self.user else { return Ok(Err(Missed::TooLate)) };
            fetched.push((Entity::User, user));
        }
        let whole = |parts: Vec<Option<Fetched>>| parts.into_iter().collect::<Option<Vec<_>>>().map(Fetched::concat);
        if self.plan.needs(Entity::Item) {
            let mut items = match self.plan.stored(Entity::Item).is_empty() {
                true => Fetched::concat(Vec::new())?,
                false => match whole(self.of_items) {
                    Some(items) => items?,
                    None => return Ok(Err(Missed::TooLate)),
                },
            };
            if !self.plan.item_attributes().is_empty() {
                let Some(attributes) = self.attributes else { return Ok(Err(Missed::TooLate)) };
                items.attributes = attributes;
            }
            fetched.push((Entity::Item, items));
        }
        if self.plan.needs(Entity::Pair) {
            let Some(pairs) = whole(self.pairs) else { return Ok(Err(Missed::TooLate)) };
            fetched.push((Entity::Pair, pairs?));
        }
        let fetched: Vec<(Entity, &Fetched)> = fetched.iter().map(|(entity, fetched)| (*entity, fetched)).collect();
        let context = served.features.as_ref().map(|features| &features.context);
        let nothing = Attributes::new();
        Ok(Ok(self.plan.assemble(served.items.len(), self.now, context.unwrap_or(&nothing), &fetched)?))
    }
}
