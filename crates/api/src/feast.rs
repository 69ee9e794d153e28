//! The feature-server protocol that Feast's clients speak. Fields that are not known here are ignored: its clients send
//! more with every version.

use indexmap::IndexMap;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tastemaker_types::{FeatureValue, Timestamp};
use utoipa::ToSchema;

use crate::feature_columns::{CellRef, Each, ValueRef};

/// Columns by name, equally long, in the order sent.
pub type Columns = IndexMap<String, Vec<Value>>;

/// Asks for the present values of features.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct GetOnlineFeaturesRequest {
    /// Ids by join key: `user_id`, `item_id` or both; texts or whole numbers.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<Object>>, example = json!({"user_id": ["user-1", "user-2"]}))]
    pub entities: Columns,
    /// Features as `view:name`. Give these or `feature_service`.
    #[serde(default)]
    #[schema(example = json!(["user:recent_click_count"]))]
    pub features: Option<Vec<String>>,
    /// A declared list of features.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Whether features are called `view__name` in the answer.
    #[serde(default)]
    pub full_feature_names: bool,
}

/// Rows of a feature view to write, with times in `event_timestamp` and `created`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct PushRequest {
    /// The feature view.
    pub push_source_name: String,
    /// Its columns: join keys, features, `event_timestamp`, `created`.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<Object>>)]
    pub df: Columns,
    /// `online`, `online_and_offline` or `offline`: all the same here, since rows go to the log, from which both are read.
    #[serde(default)]
    pub to: PushTo,
}

/// Where pushed rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushTo {
    /// To online reads.
    #[default]
    Online,
    /// To historical reads.
    Offline,
    /// To both.
    OnlineAndOffline,
}

/// Rows of a feature view to write, by its name.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct WriteToOnlineStoreRequest {
    /// The feature view.
    pub feature_view_name: String,
    /// Its columns: join keys, features, `event_timestamp`, `created`.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<Object>>)]
    pub df: Columns,
}

/// The answer, for the documentation; [`FeatureVectors`] writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GetOnlineFeaturesResponse {
    /// What the results are of.
    pub metadata: Metadata,
    /// One for each name: join keys first, then features.
    pub results: Vec<FeatureVectorBody>,
}

/// What results are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Metadata {
    /// In the order of the results.
    pub feature_names: Vec<String>,
}

/// One join key or feature of all rows, for the documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeatureVectorBody {
    /// Plain values, null where there is none.
    #[schema(value_type = Vec<Option<Object>>)]
    pub values: Vec<Value>,
    /// `PRESENT`, `NULL_VALUE`, `NOT_FOUND` or `OUTSIDE_MAX_AGE` for each.
    pub statuses: Vec<String>,
    /// The time of what each value comes from; 1970 where there is none.
    pub event_timestamps: Vec<String>,
}

/// What is written for a [`GetOnlineFeaturesRequest`].
#[derive(Debug, Serialize)]
pub struct FeatureVectors<V> {
    /// What the results are of.
    pub metadata: Metadata,
    /// A [`Vector`] for each name.
    pub results: Vec<V>,
}

/// One join key or feature of all rows.
#[derive(Debug)]
pub enum Vector<'a, I> {
    /// Ids as they came.
    Key(&'a [Value]),
    /// A feature.
    Feature(I),
}

/// Feast's client tells the type of a value from the value, and fails on an empty list or map, and with it the whole read. Here
/// they are NULL.
fn readable(cell: CellRef<'_>) -> CellRef<'_> {
    let empty = match cell.value {
        Some(FeatureValue::Texts(texts)) => texts.is_empty(),
        Some(FeatureValue::Vector(vector)) => vector.is_empty(),
        Some(FeatureValue::Map(map)) => map.is_empty(),
        _ => false,
    };
    let status = if empty && cell.status == "PRESENT" { "NULL_VALUE" } else { cell.status };
    CellRef { value: cell.value.filter(|_| !empty), status, ..cell }
}

impl<'a, I: Iterator<Item = CellRef<'a>> + Clone> Serialize for Vector<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut vector = serializer.serialize_struct("Vector", 3)?;
        match self {
            Self::Key(ids) => {
                vector.serialize_field("values", ids)?;
                vector.serialize_field("statuses", &Each(ids.iter().map(|_| "PRESENT")))?;
                vector.serialize_field("event_timestamps", &Each(ids.iter().map(|_| Timestamp::EPOCH)))?;
            }
            Self::Feature(cells) => {
                let cells = || cells.clone().map(readable);
                vector.serialize_field("values", &Each(cells().map(|cell| ValueRef(cell.value))))?;
                vector.serialize_field("statuses", &Each(cells().map(|cell| cell.status)))?;
                let times = cells().map(|cell| cell.event_time.unwrap_or(Timestamp::EPOCH));
                vector.serialize_field("event_timestamps", &Each(times))?;
            }
        }
        vector.end()
    }
}
