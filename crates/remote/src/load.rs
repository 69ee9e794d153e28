//! What Redis returned, as a small world for one request.

use std::collections::HashSet;
use std::sync::Arc;

use tastemaker_features::set::SharedFeatures;
use tastemaker_features::{OnlineState, PortableRankings, PortableUser, StateOptions};
use tastemaker_recommend::{ServingGeneration, World};
use tastemaker_store::index::NO_ROW;
use tastemaker_store::{Catalog, ItemChange};
use tastemaker_types::{AttributeSchema, Attributes, EntityUpsert, Position, Timestamp, UpsertMode};

use crate::model::PublishedModel;
use crate::row::ItemRow;

/// An item that may be in the answer.
#[derive(Debug)]
pub(crate) struct Item {
    /// As it was first seen, with all attributes.
    pub(crate) upsert: EntityUpsert,
    /// The last change of any item that is in it.
    pub(crate) through: Option<Position>,
    /// What is remembered of it for its features.
    pub(crate) state: Option<Vec<u8>>,
}

impl Item {
    pub(crate) fn new(id: &str, row: ItemRow, state: Option<Vec<u8>>) -> Self {
        let ItemRow { through, first_seen, attributes } = row;
        let mode = UpsertMode::Replace;
        Self { upsert: EntityUpsert { id: id.to_owned(), timestamp: first_seen, mode, attributes }, through, state }
    }

    pub(crate) fn id(&self) -> &str {
        &self.upsert.id
    }
}

/// What small worlds have in common.
pub(crate) struct Worlds {
    pub(crate) attributes: AttributeSchema,
    pub(crate) options: StateOptions,
    pub(crate) features: SharedFeatures,
}

impl Worlds {
    /// A world of these items and users. Items that the users liked and that are not among them are there for the users' vectors alone.
    pub(crate) fn of(
        &self,
        items: &[Arc<Item>],
        users: Vec<(&str, &PortableUser, Attributes)>,
        rankings: &PortableRankings,
        model: Option<&PublishedModel>,
        now: Timestamp,
    ) -> World {
        let mut there: HashSet<&str> = HashSet::with_capacity(items.len());
        let listed: Vec<&Item> = items.iter().map(Arc::as_ref).filter(|item| there.insert(item.id())).collect();
        let history = users.iter().flat_map(|(_, user, _)| user.history());
        let liked: Vec<&str> = history.map(|liked| liked.item_id.as_str()).filter(|id| there.insert(id)).collect();
        let changes = listed.iter().map(|item| ItemChange::Upsert(&item.upsert));
        let hidden = liked.iter().map(|id| ItemChange::Seen { id, timestamp: Timestamp::EPOCH });
        let catalog = Arc::new(Catalog::with_capacity(self.attributes.clone(), there.len()));
        catalog.apply(&changes.chain(hidden).collect::<Vec<_>>());

        let features = Arc::clone(&self.features);
        let state = OnlineState::with_features(self.options.clone(), Arc::clone(&catalog), features);
        for (id, user, attributes) in users {
            state.import_user(id, user, attributes);
        }
        for (row, item) in (0u32..).zip(&listed) {
            if let Some(Err(error)) = item.state.as_ref().map(|bytes| state.import_item(row, bytes)) {
                // As one of which nothing is known; the server with the log writes it anew.
                tracing::warn!(%error, "the state of an item in Redis cannot be read");
            }
        }
        state.import_items_through(listed.iter().filter_map(|item| item.through).max());
        state.import_rankings(rankings, now);
        let snapshot = catalog.snapshot();
        let place = |model: &PublishedModel, row| snapshot.id(row).and_then(|id| model.place(id)).unwrap_or(NO_ROW);
        let generation = model.map(|model| {
            let places = (0..snapshot.len() as u32).map(|row| place(model, row)).collect();
            Arc::new(ServingGeneration::of_few(model.model(), places))
        });
        let hidden = (listed.len() as u32..snapshot.len() as u32).collect();
        World { catalog, state: Arc::new(state), generation, hidden }
    }
}
