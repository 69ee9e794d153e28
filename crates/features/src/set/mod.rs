//! The features of a project, compiled: what `[[features]]` and `[[feature_views]]` declare becomes kernels, views and expressions that
//! are checked once, at start. Live serving, replay and historical features all work from the same [`FeatureSet`].

mod error;
mod events;
mod expressions;
mod fingerprint;
mod streams;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::DataType;
use indexmap::IndexMap;
use tastemaker_config::{Config, Entity, FeatureKind};
use tastemaker_types::{AttributeSchema, AttributeType, Window, did_you_mean};

pub use error::FeatureSetError;
pub use expressions::{Expression, InputColumn};
pub use streams::{Evaluated, EventColumns, Streams};

/// The place of a feature in its [`FeatureSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureId(pub usize);

/// The type of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
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
    /// Numbers by name.
    Map,
}

impl ValueType {
    /// As users write and read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "texts",
            Self::Vector => "vector",
            Self::Map => "map",
        }
    }

    /// What expressions see; none for what they cannot read.
    pub fn expression_type(self) -> Option<DataType> {
        let attribute = match self {
            Self::Number => AttributeType::Number,
            Self::Bool => AttributeType::Bool,
            Self::Text => AttributeType::Text,
            Self::Time => AttributeType::Time,
            Self::Texts => AttributeType::Tags,
            Self::Vector | Self::Map => return None,
        };
        Some(tastemaker_expr::arrow_type(attribute))
    }
}

impl From<FeatureKind> for ValueType {
    fn from(kind: FeatureKind) -> Self {
        match kind {
            FeatureKind::Number => Self::Number,
            FeatureKind::Bool => Self::Bool,
            FeatureKind::Text => Self::Text,
            FeatureKind::Time => Self::Time,
            FeatureKind::Texts => Self::Texts,
            FeatureKind::Vector => Self::Vector,
        }
    }
}

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
    pub default: Option<f64>,
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

/// The view of the features that models make.
const MODEL_VIEW: &str = "model";

impl FeatureSet {
    /// Compiles what `config` declares.
    ///
    /// # Errors
    /// [`FeatureSetError`] names the key and what to write instead.
    pub fn compile(config: &Config) -> Result<Self, FeatureSetError> {
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
        set.add_views(config);
        set.add_expressions(config)?;
        for (service, references) in &config.feature_services {
            let key = || format!("feature_services.{service}");
            let found = references
                .iter()
                .map(|reference| set.by_reference(reference).map_err(|message| FeatureSetError::new(key(), message)));
            let found = found.collect::<Result<_, _>>()?;
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

    fn add_views(&mut self, config: &Config) {
        for view in &config.feature_views {
            let columns: IndexMap<String, ValueType> =
                view.features.iter().map(|(name, kind)| (name.clone(), ValueType::from(*kind))).collect();
            for (column, (name, value_type)) in columns.iter().enumerate() {
                self.add(Feature {
                    entity: view.entity,
                    name: name.clone(),
                    view: view.name.clone(),
                    value_type: *value_type,
                    source: Source::View { view: self.views.len(), column },
                    ttl: view.ttl,
                    default: None,
                });
            }
            self.views.push(View { name: view.name.clone(), entity: view.entity, columns });
        }
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
            _ => {
                let known: Vec<String> = match reference.split_once(':') {
                    Some(_) => self.features.iter().map(|f| format!("{}:{}", f.view, f.name)).collect(),
                    None => self.features.iter().map(|feature| feature.name.clone()).collect(),
                };
                let hint = did_you_mean(reference, known.iter().map(String::as_str));
                Err(format!("there is no feature '{reference}'{hint}"))
            }
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
