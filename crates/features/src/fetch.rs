//! What is stored of entities, at one moment each: the first step of a read.

use std::sync::Arc;

use tastemaker_config::Entity;
use tastemaker_types::{Attributes, Position, Timestamp};

use crate::read::{Embeddings, FetchedAttributes};
use crate::{Fetched, OnlineState, ReadPlan};

impl OnlineState {
    /// What the plan needs of these users.
    pub fn fetch_users<'a>(
        &self,
        plan: &ReadPlan,
        ids: impl ExactSizeIterator<Item = &'a str>,
        now: Timestamp,
        embeddings: Option<&dyn Embeddings>,
    ) -> Fetched {
        let mut columns = plan.columns(Entity::User, ids.len());
        let mut versions = Vec::with_capacity(ids.len());
        let mut attributes: Vec<Attributes> = Vec::new();
        for id in ids {
            self.users().read(id, |user| {
                let features = user.as_ref().and_then(|user| user.features);
                versions.push(features.and_then(|features| features.own.version()));
                if plan.user_attributes() {
                    attributes.push(user.as_ref().and_then(|user| user.attributes).cloned().unwrap_or_default());
                }
                let embedding = || {
                    let (embeddings, user) = (embeddings?, user.as_ref()?);
                    Some((embeddings.user(&user.history(now))?, embeddings.trained()))
                };
                plan.push(&mut columns, Entity::User, features.map(|features| &features.own), now, embedding);
            });
        }
        Fetched { versions, columns, attributes: FetchedAttributes::Users(attributes) }
    }

    /// What the plan needs of the items of these rows of the catalog; an item that is not in it has none.
    pub fn fetch_items(
        &self,
        plan: &ReadPlan,
        rows: &[Option<u32>],
        now: Timestamp,
        embeddings: Option<&dyn Embeddings>,
    ) -> FetchedItems {
        let mut fetched = self.item_features(plan, rows, now, embeddings);
        let catalog_version;
        (fetched.attributes, catalog_version) = self.item_attributes(plan, rows);
        FetchedItems { fetched, catalog_version }
    }

    /// [`OnlineState::fetch_items`] without attributes.
    pub(crate) fn item_features(
        &self,
        plan: &ReadPlan,
        rows: &[Option<u32>],
        now: Timestamp,
        embeddings: Option<&dyn Embeddings>,
    ) -> Fetched {
        let mut columns = plan.columns(Entity::Item, rows.len());
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let embedding = || {
                let embeddings = embeddings?;
                Some((embeddings.item((*row)?)?, embeddings.trained()))
            };
            let mut push = |features: Option<&crate::entity::EntityFeatures>| {
                versions.push(features.and_then(|features| features.version()));
                plan.push(&mut columns, Entity::Item, features, now, embedding);
            };
            match row {
                Some(row) => self.items().read(*row, push),
                None => push(None),
            }
        }
        Fetched { versions, columns, attributes: FetchedAttributes::None }
    }

    /// The attributes of items that the plan needs, and the last change of any item that they include.
    pub(crate) fn item_attributes(
        &self,
        plan: &ReadPlan,
        rows: &[Option<u32>],
    ) -> (FetchedAttributes, Option<Position>) {
        let catalog = self.catalog_at();
        if plan.item_attributes().is_empty() {
            return (FetchedAttributes::None, catalog.position());
        }
        // A row past the end has only NULLs.
        let known: Vec<u32> = rows.iter().map(|row| row.unwrap_or(u32::MAX)).collect();
        let attributes = catalog.snapshot.gather_columns(&known, plan.item_attributes());
        (FetchedAttributes::Items(attributes), catalog.position())
    }

    /// What the plan needs of a user with the items of these rows.
    pub fn fetch_pairs<'a>(
        &self,
        plan: &ReadPlan,
        pairs: impl ExactSizeIterator<Item = (&'a str, Option<u32>)>,
        now: Timestamp,
    ) -> Fetched {
        let mut columns = plan.columns(Entity::Pair, pairs.len());
        let mut versions = Vec::with_capacity(pairs.len());
        for (user, row) in pairs {
            self.users().read(user, |user| {
                let pair = user.and_then(|user| user.features?.pairs.get(&row?));
                versions.push(pair.and_then(|pair| pair.version()));
                plan.push(&mut columns, Entity::Pair, pair, now, || None);
            });
        }
        Fetched { versions, columns, attributes: FetchedAttributes::None }
    }
}

/// What was fetched of items.
#[derive(Debug, Clone)]
pub struct FetchedItems {
    /// It.
    pub fetched: Fetched,
    /// The last change of any item that the attributes include.
    pub catalog_version: Option<Position>,
}

/// The catalog, and up to which record it says what the log says.
pub(crate) struct CatalogAt {
    pub(crate) snapshot: Arc<tastemaker_store::CatalogSnapshot>,
    /// One past that record; 0: none.
    pub(crate) through: u64,
}

impl CatalogAt {
    pub(crate) fn position(&self) -> Option<Position> {
        self.through.checked_sub(1).map(Position)
    }
}
