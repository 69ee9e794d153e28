//! Items and users: how they are written, read and listed. The two have the same shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tastemaker_types::{Attributes, EntityUpsert, Timestamp, UpsertMode};
use utoipa::{IntoParams, ToSchema};

use crate::BatchRequest;
use crate::objects::objects;

/// A value of an attribute, for the documentation; [`tastemaker_types::Value`] is what is read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AttributeValue {
    /// A tag, a text, or a time in RFC 3339.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Tags.
    Tags(Vec<String>),
}

/// Attributes by name, for the documentation.
pub type AttributeValues = BTreeMap<String, AttributeValue>;

/// An item or user to write; attributes that are not named are removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityInput {
    /// Its id.
    #[schema(example = "item-1")]
    pub id: String,
    /// Values of declared attributes, by name.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = Option<AttributeValues>)]
    pub attributes: Attributes,
    /// When it was so. Left out, it is the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub timestamp: Option<Timestamp>,
    /// What becomes of attributes that are not named: `replace` (the default) removes them, `merge` leaves them.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "merge")]
    pub mode: UpsertMode,
}

impl EntityInput {
    /// As the log holds it.
    pub fn into_upsert(self, now: Timestamp) -> EntityUpsert {
        EntityUpsert {
            id: self.id,
            attributes: self.attributes,
            mode: self.mode,
            timestamp: self.timestamp.unwrap_or(now),
        }
    }
}

/// Several items to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemsRequest {
    /// The items.
    #[serde(deserialize_with = "objects")]
    pub items: Vec<EntityInput>,
}

impl BatchRequest for ItemsRequest {
    type Record = EntityInput;
    const FIELD: &'static str = "items";
    const SINGLE: bool = true;

    fn into_records(self) -> Vec<EntityInput> {
        self.items
    }
}

/// Several users to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersRequest {
    /// The users.
    #[serde(deserialize_with = "objects")]
    pub users: Vec<EntityInput>,
}

impl BatchRequest for UsersRequest {
    type Record = EntityInput;
    const FIELD: &'static str = "users";
    const SINGLE: bool = true;

    fn into_records(self) -> Vec<EntityInput> {
        self.users
    }
}

/// The body of `POST /v1/items`, for the documentation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ItemsBody {
    /// One item.
    One(EntityInput),
    /// Several.
    Many(ItemsRequest),
}

/// The body of `POST /v1/users`, for the documentation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum UsersBody {
    /// One user.
    One(EntityInput),
    /// Several.
    Many(UsersRequest),
}

/// All attributes of an item or user: those not named are removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEntity {
    /// Values by name.
    #[schema(value_type = AttributeValues)]
    pub attributes: Attributes,
}

/// Some attributes of an item or user: those not named stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchEntity {
    /// Values by name.
    #[schema(value_type = AttributeValues)]
    pub attributes: Attributes,
}

/// An item or user as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entity {
    /// Its id.
    #[schema(example = "item-1")]
    pub id: String,
    /// Values by name.
    #[schema(value_type = AttributeValues)]
    pub attributes: Attributes,
}

/// Which part of a list to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// At most so many, 1 to 1000; 100 if left out.
    pub limit: Option<usize>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// A page of items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemsPage {
    /// The items.
    pub items: Vec<Entity>,
    /// The cursor of the next page; null on the last.
    pub next: Option<String>,
}

/// A page of users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsersPage {
    /// The users.
    pub users: Vec<Entity>,
    /// The cursor of the next page; null on the last.
    pub next: Option<String>,
}
