//! Values of features, and the rows of feature views that somebody else computes.

use serde::{Deserialize, Serialize};

use crate::{IdError, Timestamp, validate_id};

/// The value of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum FeatureValue {
    /// Finite.
    Number(f64),
    /// One text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// An instant.
    Time(Timestamp),
    /// Texts, in an order that the feature defines.
    Texts(Vec<String>),
    /// An embedding.
    Vector(Vec<f32>),
    /// Numbers by name, in an order that the feature defines.
    Map(Vec<(String, f64)>),
}

impl FeatureValue {
    /// Whether every number in it is finite.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Number(number) => number.is_finite(),
            Self::Vector(vector) => vector.iter().all(|v| v.is_finite()),
            Self::Map(map) => map.iter().all(|(_, number)| number.is_finite()),
            Self::Text(_) | Self::Bool(_) | Self::Time(_) | Self::Texts(_) => true,
        }
    }

    /// Whether it is the same value, bit for bit.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.to_bits() == b.to_bits(),
            (Self::Vector(a), Self::Vector(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.to_bits() == b.1.to_bits())
            }
            (a, b) => a == b,
        }
    }
}

/// A row of a feature view: values of one entity that hold since a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureRow {
    /// The feature view.
    pub view: String,
    /// The user, if the view is about users or pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The item, if the view is about items or pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Since when the values hold.
    pub event_timestamp: Timestamp,
    /// When they were computed, if not then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Values by name; a feature that is not among them is null.
    pub values: Vec<(String, FeatureValue)>,
}

impl FeatureRow {
    /// Checks the ids. Names and values are checked against the view by its caller.
    ///
    /// # Errors
    /// The first id that breaks a rule.
    pub fn validate_ids(&self) -> Result<(), IdError> {
        self.user_id.as_deref().map_or(Ok(()), |id| validate_id("user_id", id))?;
        self.item_id.as_deref().map_or(Ok(()), |id| validate_id("item_id", id))
    }
}
