//! What the event log holds: events, upserts and deletions of items and users, and the recommendations that were served.

use serde::{Deserialize, Serialize};

use crate::{Attributes, FeatureRow, FeatureValue, IdError, Timestamp, validate_id};

/// The place of a record in the event log: 0 for the first, then one more for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The place right after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One fact at one time: a user did something with an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique for ever: a repeated id is applied once.
    pub event_id: String,
    /// `impression`, `click`, `purchase` or whatever the project declares.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Who.
    pub user_id: String,
    /// With what.
    pub item_id: String,
    /// When it happened, by the sender's clock.
    pub timestamp: Timestamp,
    /// When the server took it, if that was before `timestamp`: the sender's clock is ahead. Features wait until its time has come. No
    /// sender says it.
    #[serde(skip)]
    pub received: Option<Timestamp>,
    /// A rating, a price paid, seconds watched …; finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The visit it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The recommendation request that showed the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub properties: Attributes,
}

impl Event {
    /// Checks every id. Types and values are checked against the project by its caller.
    ///
    /// # Errors
    /// The first id that breaks a rule.
    pub fn validate_ids(&self) -> Result<(), IdError> {
        validate_id("event_id", &self.event_id)?;
        validate_id("type", &self.event_type)?;
        validate_id("user_id", &self.user_id)?;
        validate_id("item_id", &self.item_id)?;
        self.session_id.as_deref().map_or(Ok(()), |id| validate_id("session_id", id))?;
        self.request_id.as_deref().map_or(Ok(()), |id| validate_id("request_id", id))
    }
}

/// What an upsert does with attributes that it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpsertMode {
    /// They are removed: the entity has just what the upsert says.
    #[default]
    Replace,
    /// They stay.
    Merge,
}

/// Makes an item or user exist with these attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityUpsert {
    /// The item's or user's id.
    pub id: String,
    /// Values by name, each of its declared type.
    #[serde(default)]
    pub attributes: Attributes,
    /// What happens to the others.
    #[serde(default)]
    pub mode: UpsertMode,
    /// When it was written.
    pub timestamp: Timestamp,
}

/// One item of a served answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedItem {
    /// The item.
    pub item_id: String,
    /// Its final score.
    pub score: f32,
}

/// The features that an answer was made with, and the state that they were read from: a replay of the log up to the same
/// state gives the same values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServedFeatures {
    /// The last record that concerned the user; none if nothing was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_version: Option<Position>,
    /// The last change of any item that the attributes include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_version: Option<Position>,
    /// For each served item, the last record that concerned it.
    pub item_versions: Vec<Option<Position>>,
    /// For each served item, the last record that concerned it and the user together.
    pub pair_versions: Vec<Option<Position>>,
    /// The request's parameters.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub context: Attributes,
    /// The features, each `entity.name`, with a value for each served item. Left out of most answers, see
    /// `recommend.log_features`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, Vec<Option<FeatureValue>>)>,
    /// For each of these features, a number that is another one when the feature is declared otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<u64>,
}

/// A recommendation as it went out, for feedback and validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Joins later events to this answer.
    pub request_id: String,
    /// Who asked.
    pub user_id: String,
    /// When.
    pub timestamp: Timestamp,
    /// The generation that made it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// In the order shown.
    pub items: Vec<ServedItem>,
    /// Why it was less than whole, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// What it was made with, if the project declares features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<ServedFeatures>,
}

/// One entry of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A user did something.
    Event(Event),
    /// An item exists, or has other attributes.
    ItemUpsert(EntityUpsert),
    /// An item is gone.
    ItemDelete {
        /// The item.
        id: String,
        /// When it was deleted.
        timestamp: Timestamp,
    },
    /// A user exists, or has other attributes.
    UserUpsert(EntityUpsert),
    /// A user is to be forgotten.
    UserDelete {
        /// The user.
        id: String,
        /// When it was deleted.
        timestamp: Timestamp,
    },
    /// An answer went out.
    Served(Served),
    /// Features that were computed elsewhere.
    FeatureRow(FeatureRow),
}

impl Record {
    /// When it happened.
    pub fn timestamp(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.timestamp,
            Self::ItemUpsert(upsert) | Self::UserUpsert(upsert) => upsert.timestamp,
            Self::ItemDelete { timestamp, .. } | Self::UserDelete { timestamp, .. } => *timestamp,
            Self::Served(served) => served.timestamp,
            Self::FeatureRow(row) => row.event_timestamp,
        }
    }
}
