//! Features as clients ask for them and get them, and what there is to ask for.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tastemaker_types::Attributes;
use utoipa::ToSchema;

use crate::entities::AttributeValues;
use crate::objects::object;

/// Which entities features are read of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityIds {
    /// Ids of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["user-1"]))]
    pub user: Option<Vec<String>>,
    /// Ids of items. With users, too, the two are read as pairs: they are equally long, or one of them is a single id that
    /// goes with all of the other. An empty list of either is no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["item-1", "item-2"]))]
    pub item: Option<Vec<String>>,
}

/// Asks for the present values of features. At most 10,000 rows, 1,000 features, 2,000,000 values and 128 MiB.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineFeaturesRequest {
    /// Of whom.
    #[serde(deserialize_with = "object")]
    pub entities: EntityIds,
    /// Features by name, as `entity.name`, or as `view:name`. Give these or `feature_service`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["recent_click_count", "user.session_duration"]))]
    pub features: Vec<String>,
    /// A declared list of features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_service: Option<String>,
    /// Request parameters that features are computed from.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = Option<AttributeValues>)]
    pub context: Attributes,
}

/// The answer, feature by feature; [`OnlineFeatures`](crate::OnlineFeatures) writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineFeaturesResponse {
    /// How many values each feature has: one for each entity or pair, in the order asked for.
    pub rows: usize,
    /// The features in the order asked for.
    pub features: Vec<OnlineFeature>,
}

/// One feature of all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineFeature {
    /// As it was asked for.
    #[schema(example = "recent_click_count")]
    pub name: String,
    /// `number`, `bool`, `text`, `time`, `texts`, `vector` or `map`.
    #[serde(rename = "type")]
    #[schema(example = "number")]
    pub value_type: String,
    /// A number, a boolean, a text, a time in RFC 3339, a list of texts, a list of numbers, or numbers by name; null, or the
    /// feature's default, where there is none.
    #[schema(value_type = Vec<Option<Object>>)]
    pub values: Vec<Value>,
    /// `PRESENT`, `NULL_VALUE`, `NOT_FOUND` or `OUTSIDE_MAX_AGE` for each value.
    #[schema(example = json!(["PRESENT"]))]
    pub statuses: Vec<String>,
    /// The time of what each value comes from.
    pub event_timestamps: Vec<Option<String>>,
}

/// Every feature, and the declared lists of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeaturesResponse {
    /// In the order of declaration.
    pub features: Vec<FeatureInfo>,
    /// Lists of features that belong together.
    pub feature_services: Vec<FeatureServiceInfo>,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeatureInfo {
    /// Unique within its entity.
    #[schema(example = "recent_click_count")]
    pub name: String,
    /// Whose property it is: `user`, `item` or `pair`.
    #[schema(example = "user")]
    pub entity: String,
    /// The feature view that it is listed under.
    pub view: String,
    /// `number`, `bool`, `text`, `time`, `texts`, `vector` or `map`.
    #[serde(rename = "type")]
    #[schema(example = "number")]
    pub value_type: String,
    /// Where its values come from: `stream` (events), `batch` (a table, or pushed), `model` or `expression`.
    #[schema(example = "stream")]
    pub source: String,
    /// After this long since its event time a value counts as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub ttl: Option<String>,
    /// What is given where there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = 0)]
    pub default: Option<Value>,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A declared list of features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeatureServiceInfo {
    /// Its name.
    pub name: String,
    /// As they are asked for.
    pub features: Vec<String>,
}
