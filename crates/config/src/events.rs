//! What a project's data is made of: the attributes of items and users, and the types of events.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tastemaker_types::{AttributeSchema, AttributeType, Event, did_you_mean};

/// The event type that every project has: an item was shown.
pub const IMPRESSION: &str = "impression";

/// `[users]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntityConfig {
    /// Attributes by name, each `tag`, `tags`, `text`, `number`, `bool` or `time`. Anything not declared here is refused
    /// by the API and skipped by `import`.
    pub attributes: IndexMap<String, AttributeType>,
}

impl EntityConfig {
    /// The attributes as a schema that checks values, in declaration order.
    pub fn schema(&self) -> AttributeSchema {
        schema_of(&self.attributes)
    }
}

/// Declared attributes as a schema.
pub(crate) fn schema_of(attributes: &IndexMap<String, AttributeType>) -> AttributeSchema {
    AttributeSchema::new(attributes.iter().map(|(name, kind)| (name.clone(), *kind)))
}

/// One entry of `[events]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventTypeConfig {
    /// Whether such an event says that the user likes the item. Only positive events train models and move a user's
    /// vector.
    pub positive: bool,
    /// How strongly it says so, as the weight of the interaction.
    #[schemars(range(min = 0.000_001, max = 1_000_000.0))]
    pub weight: f64,
    /// Whether it is what the business wants in the end, such as a purchase.
    pub conversion: bool,
    /// The event counts as positive only from this value on, such as a rating of 4. An event without a value then does
    /// not count.
    pub min_value: Option<f64>,
}

impl Default for EventTypeConfig {
    fn default() -> Self {
        Self { positive: false, weight: 1.0, conversion: false, min_value: None }
    }
}

/// `[events]`: the types of events by name, in declaration order. `impression` is always among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "IndexMap<String, EventTypeConfig>", into = "IndexMap<String, EventTypeConfig>")]
#[schemars(with = "IndexMap<String, EventTypeConfig>")]
pub struct EventTypes(IndexMap<String, EventTypeConfig>);

/// An event of a type that the project does not declare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type '{name}'{hint}; event types are declared under [events] in tastemaker.toml")]
pub struct UnknownEventType {
    name: String,
    hint: String,
}

impl EventTypes {
    /// Names and settings in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &EventTypeConfig)> {
        self.0.iter().map(|(name, settings)| (name.as_str(), settings))
    }

    /// The settings of one type.
    ///
    /// # Errors
    /// [`UnknownEventType`] with a suggestion.
    pub fn get(&self, name: &str) -> Result<&EventTypeConfig, UnknownEventType> {
        self.0.get(name).ok_or_else(|| UnknownEventType {
            name: name.to_owned(),
            hint: did_you_mean(name, self.0.keys().map(String::as_str)),
        })
    }

    /// The place of a type in declaration order, for compact storage within one process.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.get_index_of(name)
    }

    /// The weight of a positive event: its type is positive and its value reaches the type's `min_value`, if there is
    /// one. Anything else is `None`.
    pub fn positive_weight(&self, event_type: &str, value: Option<f64>) -> Option<f64> {
        let settings = self.0.get(event_type)?;
        let reached = settings.min_value.is_none_or(|least| value.is_some_and(|v| v >= least));
        (settings.positive && reached).then_some(settings.weight)
    }

    /// Whether the event counts as positive.
    pub fn is_positive(&self, event: &Event) -> bool {
        self.positive_weight(&event.event_type, event.value).is_some()
    }
}

impl Default for EventTypes {
    /// `impression`, `click` (positive), `rating` (positive from 4 on) and `purchase` (positive, weight 5, conversion).
    fn default() -> Self {
        let positive = EventTypeConfig { positive: true, ..EventTypeConfig::default() };
        Self::from_iter([
            (IMPRESSION.to_owned(), EventTypeConfig::default()),
            ("click".to_owned(), positive.clone()),
            ("rating".to_owned(), EventTypeConfig { min_value: Some(4.0), ..positive.clone() }),
            ("purchase".to_owned(), EventTypeConfig { weight: 5.0, conversion: true, ..positive }),
        ])
    }
}

impl From<IndexMap<String, EventTypeConfig>> for EventTypes {
    fn from(mut types: IndexMap<String, EventTypeConfig>) -> Self {
        if !types.contains_key(IMPRESSION) {
            types.shift_insert(0, IMPRESSION.to_owned(), EventTypeConfig::default());
        }
        Self(types)
    }
}

impl From<EventTypes> for IndexMap<String, EventTypeConfig> {
    fn from(types: EventTypes) -> Self {
        types.0
    }
}

impl FromIterator<(String, EventTypeConfig)> for EventTypes {
    fn from_iter<I: IntoIterator<Item = (String, EventTypeConfig)>>(types: I) -> Self {
        types.into_iter().collect::<IndexMap<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impression_is_always_declared() {
        let types = EventTypes::from_iter([("like".to_owned(), EventTypeConfig::default())]);
        assert_eq!(types.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["impression", "like"]);
        assert_eq!(types.get("impression"), Ok(&EventTypeConfig::default()));
    }

    #[test]
    fn a_rating_is_positive_from_its_least_value_on() {
        let rating = EventTypeConfig { positive: true, weight: 2.0, min_value: Some(4.0), ..Default::default() };
        let types = EventTypes::from_iter([("rating".to_owned(), rating)]);
        assert_eq!(types.positive_weight("rating", Some(4.0)), Some(2.0));
        assert_eq!(types.positive_weight("rating", Some(3.5)), None);
        assert_eq!(types.positive_weight("rating", None), None);
        assert_eq!(types.positive_weight("impression", Some(9.0)), None);
        assert_eq!(types.positive_weight("nothing", None), None);
    }

    #[test]
    fn an_undeclared_type_is_refused_with_a_suggestion() {
        let error = EventTypes::default().get("purchas").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown event type 'purchas'; did you mean 'purchase'?; event types are declared under [events] in tastemaker.toml"
        );
    }
}
