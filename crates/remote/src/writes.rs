//! What is known of an item or a user, as a write of its hash.

use std::sync::Arc;

use tastemaker_config::{Entity, RedisConfig};
use tastemaker_features::set::{FeatureId, Source};
use tastemaker_features::{OnlineState, PortableUser, ReadPlan};
use tastemaker_redis::layout::{EMBEDDING, FIRST_SEEN, STATE, VectorFormat, embedding_field};
use tastemaker_redis::{HashChange, HashWrite, Layout, encode_attributes, encode_feature};
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, FeatureValue, Position, Timestamp};

use crate::model::PublishedModel;
use crate::row::{ItemRow, ROW};

/// Makes writes from the state of a server that has the log.
pub(crate) struct Writes {
    layout: Layout,
    config: RedisConfig,
    catalog: Arc<Catalog>,
    state: Arc<OnlineState>,
    /// The features of users, to be read by people.
    plan: ReadPlan,
    items_have_features: bool,
}

impl Writes {
    pub(crate) fn new(
        layout: Layout,
        config: RedisConfig,
        catalog: Arc<Catalog>,
        state: Arc<OnlineState>,
        items_have_features: bool,
    ) -> Self {
        let set = state.features();
        let shown = (0..).map(FeatureId).zip(set.features());
        let shown = shown.filter(|(_, feature)| feature.entity == Entity::User && feature.source != Source::Embedding);
        let plan = ReadPlan::new(set, shown.map(|(id, _)| id).collect());
        Self { layout, config, catalog, state, plan, items_have_features }
    }

    pub(crate) fn state(&self) -> &Arc<OnlineState> {
        &self.state
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(crate) fn format(&self, model: &PublishedModel) -> VectorFormat {
        VectorFormat { dimension: model.model().manifest().model.rank, kind: self.config.index.vector_type }
    }

    /// An item as it is now, or its deletion.
    pub(crate) fn item(&self, id: &str, position: Position, models: &[Arc<PublishedModel>]) -> HashWrite {
        let key = self.layout.item(id);
        let (catalog, through) = self.state.items_through();
        let Some(row) = catalog.row(id).filter(|row| catalog.alive(*row)) else {
            return HashWrite { key, position, change: HashChange::Delete };
        };
        let (schema, attributes) = (self.catalog.attributes(), catalog.attributes(row));
        let first_seen = catalog.first_seen(row).unwrap_or(Timestamp::EPOCH);
        let mut set = encode_attributes(schema, &attributes);
        set.push((FIRST_SEEN.to_owned(), first_seen.as_micros().to_string().into_bytes()));
        let item = ItemRow { through, first_seen, attributes: attributes.clone() };
        set.push((ROW.to_owned(), item.encode(schema)));
        for model in models {
            if let Some((vector, _)) = model.place(id).and_then(|place| model.model().vector(place)) {
                set.push((embedding_field(&model.name()), self.format(model).item(vector, model.longest())));
            }
        }
        let absent = schema.fields().iter().map(|(name, _)| name).filter(|name| !attributes.contains_key(*name));
        let mut remove: Vec<String> = absent.cloned().collect();
        match self.state.export_item(row).filter(|_| self.items_have_features) {
            Some(state) => set.push((STATE.to_owned(), state)),
            None => remove.push(STATE.to_owned()),
        }
        HashWrite { key, position, change: HashChange::Set { remove, set } }
    }

    /// A user as they are now, or that they are forgotten.
    pub(crate) fn user(&self, id: &str, position: Position, model: Option<&PublishedModel>) -> HashWrite {
        let (key, now) = (self.layout.user(id), Timestamp::now());
        let (Some(state), Some(user)) = (self.state.export_user(id), self.state.user(id, now)) else {
            return HashWrite { key, position, change: HashChange::Delete };
        };
        let schema = self.state.features().user_attributes();
        let mut set = encode_attributes(schema, &user.attributes);
        let absent = schema.fields().iter().map(|(name, _)| name).filter(|name| !user.attributes.contains_key(*name));
        let mut remove: Vec<String> = absent.cloned().collect();
        for (name, value) in self.features(id, now) {
            match value {
                Some(value) => set.push((name, encode_feature(&value))),
                None => remove.push(name),
            }
        }
        match model.and_then(|model| self.embedding(&state, model)) {
            Some(vector) => set.push((EMBEDDING.to_owned(), vector)),
            None => remove.push(EMBEDDING.to_owned()),
        }
        set.push((STATE.to_owned(), state));
        HashWrite { key, position, change: HashChange::Set { set, remove } }
    }

    /// The user's vector, as a query.
    fn embedding(&self, state: &[u8], model: &PublishedModel) -> Option<Vec<u8>> {
        let user = PortableUser::decode(self.state.features(), state).ok()?;
        let vector = fold_in(&user, model)?;
        Some(self.format(model).query(&vector))
    }

    /// Feature values by name as of now.
    fn features(&self, id: &str, now: Timestamp) -> Vec<(String, Option<FeatureValue>)> {
        if self.plan.wanted().is_empty() {
            return Vec::new();
        }
        let users = self.state.fetch_users(&self.plan, [id].into_iter(), now, None);
        let columns = self.plan.assemble(1, now, &Attributes::new(), &[(Entity::User, &users)]).unwrap_or_default();
        let named = columns.into_iter().filter_map(|mut column| {
            let name = self.plan.set().feature(column.id)?.name.clone();
            Some((name, column.cells.pop()?.value))
        });
        named.collect()
    }
}

/// The vector of a user in a model; none if it knows nothing that they like.
pub(crate) fn fold_in(user: &PortableUser, model: &PublishedModel) -> Option<Vec<f32>> {
    let known = |liked: &tastemaker_features::LikedItem| Some((model.place(&liked.item_id)?, liked.weight));
    let liked: Vec<(u32, f32)> = user.history().filter_map(known).collect();
    model.model().fold_in(&liked).ok().flatten()
}
