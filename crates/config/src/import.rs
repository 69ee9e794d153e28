//! How the columns of imported files are read: `[import]`. Well-known files need nothing of this.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[import]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImportConfig {
    /// For `import events`.
    pub events: EventMapping,
    /// For `import items`.
    pub items: EntityMapping,
    /// For `import users`.
    pub users: EntityMapping,
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Lines of values with a separator.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// The unit of a time given as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimestampUnit {
    /// Seconds since 1970.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds since 1970.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds since 1970.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds since 1970.
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// What is said of a file beyond its columns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileOptions {
    /// `csv`, `jsonl` or `parquet`. Left out: told by the file's name.
    pub format: Option<FileFormat>,
    /// What separates values in a `csv` file: one character, or `::`. Left out: told by the first line.
    pub delimiter: Option<String>,
    /// Whether the first line of a `csv` file names its columns. Without a header, columns are named `1`, `2`, `3` ….
    /// Left out: told by the first line.
    pub header: Option<bool>,
    /// The unit of times given as numbers: `s`, `ms`, `us` or `ns`. Left out: told by their size.
    pub timestamp_unit: Option<TimestampUnit>,
}

/// `[import.events]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventMapping {
    /// The file.
    pub file: FileOptions,
    /// The type of every event, for files without such a column.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The file's names for our columns. Left out: well-known names are found.
    pub columns: EventColumns,
}

/// `[import.events.columns]`: our name to the file's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventColumns {
    /// The user's id.
    pub user: Option<String>,
    /// The item's id.
    pub item: Option<String>,
    /// When it happened.
    pub timestamp: Option<String>,
    /// The type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// A number such as a rating or a price.
    pub value: Option<String>,
    /// The event's own id. Without such a column, ids are made from the content, so that importing a file twice imports
    /// it once.
    pub event_id: Option<String>,
    /// The visit.
    pub session_id: Option<String>,
    /// The recommendation request.
    pub request_id: Option<String>,
}

/// `[import.items]` and `[import.users]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntityMapping {
    /// The file.
    pub file: FileOptions,
    /// The file's name for the id column. Left out: well-known names are found.
    pub id: Option<String>,
    /// The file's columns for our attributes, such as `category = "product_category"`. Left out: columns named as the
    /// attributes are.
    pub attributes: IndexMap<String, String>,
}
