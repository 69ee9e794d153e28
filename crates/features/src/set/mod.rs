//! The features of a project, compiled: what `[[features]]` and `[[feature_views]]` declare becomes kernels, views and expressions that
//! are checked once, at start. Live serving, replay and historical features all work from the same [`FeatureSet`].

mod defaults;
mod error;
mod events;
mod expressions;
mod fingerprint;
mod streams;
mod value_type;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use tastemaker_config::{Config, Entity};
use tastemaker_types::{AttributeSchema, FeatureValue, Timestamp, Window, did_you_mean, nearest};

use defaults::default_of;
pub use error::FeatureSetError;
pub use expressions::{Expression, InputColumn};
pub use streams::{Evaluated, EventColumns, Streams};
pub use value_type::ValueType;

/// The place of a feature in its [`FeatureSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureId(pub usize);

/// Where a feature's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel of its entity, under this number.
    Stream(usize),
    /// A column of a view.
    View {
        /// The view.
        view: usize,
        /// The place among its features.
        column: usize,
    },
    /// The embedding of the generation that serves.
    Embedding,
    /// The expression of this number.
    Expression(usize),
}

/// One feature.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Whose property it is.
    pub entity: Entity,
    /// Unique within its entity.
    pub name: String,
    /// The feature view it is listed under.
    pub view: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// Where its values come from.
    pub source: Source,
    /// After this long since its event time a value counts as absent.
    pub ttl: Option<Window>,
    /// What is given where there is no value.
    pub default: Option<FeatureValue>,
}

/// A batch feature view.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Whose properties it has.
    pub entity: Entity,
    /// Names and types in order.
    pub columns: IndexMap<String, ValueType>,
}

/// All features of a project.
#[derive(Debug, Default)]
pub struct FeatureSet {
    features: Vec<Feature>,
    /// By entity.
    by_name: [HashMap<String, FeatureId>; 3],
    streams: [Streams; 3],
    event_columns: EventColumns,
    views: Vec<View>,
    expressions: Vec<Expression>,
    services: IndexMap<String, Vec<FeatureId>>,
    context: AttributeSchema,
    users: AttributeSchema,
    items: AttributeSchema,
}

/// The years 2 and 9998: whatever names `now()` differs between them, be it compared with any date.
const LONG_AGO_AND_FAR_AHEAD: [Timestamp; 2] =
    [Timestamp::from_micros(-62_104_060_800_000_000), Timestamp::from_micros(253_370_764_800_000_000)];

/// The view of the features that models make.
const MODEL_VIEW: &str = "model";

impl FeatureSet {
    /// Compiles what `config` declares.
    ///
    /// # Errors
    /// [`FeatureSetError`] names the key and what to write instead.
    pub fn compile(config: &Config) -> Result<Self, FeatureSetError> {
        Self::compiled(config).map_err(|error| error.naming(config))
    }

    fn compiled(config: &Config) -> Result<Self, FeatureSetError> {
        let mut set = Self {
            features: Vec::new(),
            by_name: Default::default(),
            streams: Default::default(),
            event_columns: EventColumns::default(),
            views: Vec::new(),
            expressions: Vec::new(),
            services: IndexMap::new(),
            context: AttributeSchema::new(config.recommend.context.iter().map(|(name, kind)| (name.clone(), *kind))),
            users: config.users.schema(),
            items: config.items.schema(),
        };
        for entity in [Entity::User, Entity::Item] {
            set.add(Feature {
                entity,
                name: format!("{}_embedding", entity.name()),
                view: MODEL_VIEW.to_owned(),
                value_type: ValueType::Vector,
                source: Source::Embedding,
                ttl: None,
                default: None,
            });
        }
        set.add_streams(config)?;
        set.add_views(config)?;
        set.add_expressions(config)?;
        for (service, references) in &config.feature_services {
            let found = set.all_by_reference(references);
            let found =
                found.map_err(|message| FeatureSetError::new(format!("feature_services.{service}"), message))?;
            set.services.insert(service.clone(), found);
        }
        Ok(set)
    }

    fn add(&mut self, feature: Feature) -> FeatureId {
        let id = FeatureId(self.features.len());
        // Of two features with one name the declared one counts: the project file's own rules refuse all others.
        if let Some(named) = self.by_name.get_mut(feature.entity as usize) {
            named.insert(feature.name.clone(), id);
        }
        self.features.push(feature);
        id
    }

    fn add_views(&mut self, config: &Config) -> Result<(), FeatureSetError> {
        for (number, view) in config.feature_views.iter().enumerate() {
            let columns: IndexMap<String, ValueType> =
                view.features.iter().map(|(name, kind)| (name.clone(), ValueType::from(*kind))).collect();
            for (column, (name, value_type)) in columns.iter().enumerate() {
                let key = format!("feature_views[{number}].defaults.{name}");
                let default = default_of(&key, *value_type, view.defaults.get(name))?;
                self.add(Feature {
                    entity: view.entity,
                    name: name.clone(),
                    view: view.name.clone(),
                    value_type: *value_type,
                    source: Source::View { view: self.views.len(), column },
                    ttl: view.ttl,
                    default,
                });
            }
            self.views.push(View { name: view.name.clone(), entity: view.entity, columns });
        }
        Ok(())
    }

    /// All features, in the order of their ids.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// One feature.
    pub fn feature(&self, id: FeatureId) -> Option<&Feature> {
        self.features.get(id.0)
    }

    /// Whether nothing is declared, so that nothing needs to be remembered.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty() && self.expressions.is_empty() && self.streams.iter().all(|streams| streams.is_empty())
    }

    /// Whether something of each entity of this kind has to be remembered for its features.
    pub fn remembers(&self, entity: Entity) -> bool {
        !self.streams(entity).is_empty() || self.views.iter().any(|view| view.entity == entity)
    }

    /// The streaming features of one kind of entity.
    pub fn streams(&self, entity: Entity) -> &Streams {
        let [user, item, pair] = &self.streams;
        match entity {
            Entity::User => user,
            Entity::Item => item,
            Entity::Pair => pair,
        }
    }

    /// What the streaming features read of events.
    pub fn event_columns(&self) -> &EventColumns {
        &self.event_columns
    }

    /// The batch feature views.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The place of a batch feature view.
    ///
    /// # Errors
    /// The end of a sentence, with a suggestion.
    pub fn view(&self, name: &str) -> Result<usize, String> {
        let names = || self.views.iter().map(|view| view.name.as_str());
        names()
            .position(|known| known == name)
            .ok_or_else(|| format!("there is no feature view '{name}'{}", did_you_mean(name, names())))
    }

    /// An expression by its number.
    pub fn expression(&self, number: usize) -> Option<&Expression> {
        self.expressions.get(number)
    }

    /// The declared request parameters.
    pub fn context(&self) -> &AttributeSchema {
        &self.context
    }

    /// The declared attributes of users.
    pub fn user_attributes(&self) -> &AttributeSchema {
        &self.users
    }

    /// The declared attributes of items.
    pub fn item_attributes(&self) -> &AttributeSchema {
        &self.items
    }

    /// The features of a service, in its order.
    ///
    /// # Errors
    /// The end of a sentence, with a suggestion.
    pub fn service(&self, name: &str) -> Result<&[FeatureId], String> {
        let names = || self.services.keys().map(String::as_str);
        let found = self.services.get(name).map(Vec::as_slice);
        found.ok_or_else(|| format!("there is no feature service '{name}'{}", did_you_mean(name, names())))
    }

    /// A feature of an entity by name.
    pub fn named(&self, entity: Entity, name: &str) -> Option<FeatureId> {
        self.by_name.get(entity as usize)?.get(name).copied()
    }

    /// The feature that a reference means: `view:feature`, `entity.feature`, or a name that only one entity has.
    ///
    /// # Errors
    /// The end of a sentence: what is wrong, and a suggestion.
    pub fn by_reference(&self, reference: &str) -> Result<FeatureId, String> {
        const ALL: [Entity; 3] = [Entity::User, Entity::Item, Entity::Pair];
        let (view, entity, name) = match (reference.split_once(':'), reference.split_once('.')) {
            (Some((view, name)), _) => (Some(view), None, name),
            (None, Some((entity, name))) => (None, Some(entity), name),
            (None, None) => (None, None, reference),
        };
        let fits = |feature: &Feature| view.is_none_or(|view| feature.view == view);
        let entities = ALL.into_iter().filter(|known| entity.is_none_or(|entity| known.name() == entity));
        let named = entities.filter_map(|entity| self.named(entity, name));
        let mut found = named.filter_map(|id| Some((id, self.feature(id).filter(|feature| fits(feature))?)));
        match (found.next(), found.next()) {
            (Some((id, _)), None) => Ok(id),
            (Some((_, one)), Some((_, other))) => {
                let (one, other) = (one.entity.name(), other.entity.name());
                Err(format!("'{reference}' is a feature of {one} and of {other}; write {one}.{name} or {other}.{name}"))
            }
            _ => Err(format!("there is no feature '{reference}'{}", self.meant(reference, name))),
        }
    }

    /// The features of a service, each once.
    fn all_by_reference(&self, references: &[String]) -> Result<Vec<FeatureId>, String> {
        if references.is_empty() {
            return Err("it names no feature; name those that callers get, or remove the service".to_owned());
        }
        let mut found = IndexMap::new();
        for reference in references {
            match found.insert(self.by_reference(reference)?, reference) {
                None => {}
                Some(first) if first == reference => return Err(format!("'{first}' is named twice; remove one")),
                Some(first) => return Err(format!("'{first}' and '{reference}' are one feature; remove one")),
            }
        }
        Ok(found.into_keys().collect())
    }

    /// What a reference to no feature may have meant, as the end of a sentence: a feature as it is referred to there, else one that has the
    /// name elsewhere.
    fn meant(&self, reference: &str, name: &str) -> String {
        let in_view = |feature: &Feature| format!("{}:{}", feature.view, feature.name);
        let in_entity = |feature: &Feature| format!("{}.{}", feature.entity.name(), feature.name);
        let all = |as_text: &dyn Fn(&Feature) -> String| self.features.iter().map(as_text).collect::<Vec<String>>();
        let bare = all(&|feature| feature.name.clone());
        if name == reference {
            return did_you_mean(reference, bare.iter().map(String::as_str));
        }
        let qualified: Vec<String> = all(&in_view).into_iter().chain(all(&in_entity)).collect();
        let near = nearest(reference, qualified.iter().map(String::as_str)).map(str::to_owned);
        let elsewhere = || self.features.iter().find(|feature| feature.name == name).map(in_entity);
        match near.or_else(elsewhere) {
            Some(near) => format!("; did you mean '{near}'?"),
            None => did_you_mean(name, bare.iter().map(String::as_str)),
        }
    }

    /// The ids with everything that they are computed from, each once, in an order in which each can be computed.
    pub fn closure(&self, wanted: &[FeatureId]) -> Vec<FeatureId> {
        let mut closed = Vec::new();
        let mut visited = vec![false; self.features.len()];
        wanted.iter().for_each(|id| self.visit(*id, &mut visited, &mut closed));
        closed
    }

    /// Depth is bounded by the declarations, which have no cycles.
    fn visit(&self, id: FeatureId, visited: &mut [bool], closed: &mut Vec<FeatureId>) {
        match visited.get_mut(id.0) {
            Some(seen) if !*seen => *seen = true,
            _ => return,
        }
        if let Some(Source::Expression(number)) = self.feature(id).map(|feature| feature.source)
            && let Some(expression) = self.expression(number)
        {
            expression.features().for_each(|needed| self.visit(needed, visited, closed));
        }
        closed.push(id);
    }
}

/// What everything shares.
pub type SharedFeatures = Arc<FeatureSet>;
