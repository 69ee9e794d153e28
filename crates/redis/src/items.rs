//! Items as hashes: written as the log says, and read by id.

use redis::{Pipeline, Value};
use tastemaker_types::{AttributeSchema, Attributes, Position, Timestamp};

use crate::client::{Client, Operation};
use crate::codec::{decode_attributes, decode_value, encode_attributes};
use crate::layout::{DELETED, FIRST_SEEN, VERSION, embedding_field};
use crate::reply::{bytes, list};
use crate::write::{HashChange, HashWrite, Written};
use crate::{Layout, RedisError};

const READ: Operation = Operation::repeatable("read_items");

/// A change of one item.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemWrite {
    /// It exists, with these attributes.
    Upsert {
        /// The item.
        id: String,
        /// The log position that it follows from.
        position: Position,
        /// When it was first seen; left out: what Redis has stays.
        first_seen: Option<Timestamp>,
        /// Values by name.
        attributes: Attributes,
        /// Whether declared attributes that are not among them are removed.
        replace: bool,
        /// Vectors by generation, encoded by [`crate::VectorFormat::item`]; those of other generations stay.
        vectors: Vec<(String, Vec<u8>)>,
    },
    /// It is gone.
    Delete {
        /// The item.
        id: String,
        /// The log position that it follows from.
        position: Position,
    },
}

/// An item as Redis has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// The attributes that were asked for and that it has.
    pub attributes: Attributes,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// The log position of its last change.
    pub version: Position,
}

/// The items of a project in Redis.
#[derive(Debug, Clone)]
pub struct Items {
    client: Client,
    schema: AttributeSchema,
}

impl Items {
    /// Those whose declared attributes are `schema`.
    pub fn new(client: Client, schema: AttributeSchema) -> Self {
        Self { client, schema }
    }

    /// The declared attributes.
    pub fn schema(&self) -> &AttributeSchema {
        &self.schema
    }

    /// Does the writes, in order, and says of each what became of it.
    ///
    /// # Errors
    /// As [`Client::write_hashes`].
    pub async fn write(&self, operation: Operation, writes: &[ItemWrite]) -> Result<Vec<Written>, RedisError> {
        let writes: Vec<HashWrite> = writes.iter().map(|write| self.hash(write)).collect();
        self.client.write_hashes(operation, &writes).await
    }

    fn hash(&self, write: &ItemWrite) -> HashWrite {
        let layout: &Layout = self.client.layout();
        match write {
            ItemWrite::Delete { id, position } => {
                HashWrite { key: layout.item(id), position: *position, change: HashChange::Delete }
            }
            ItemWrite::Upsert { id, position, first_seen, attributes, replace, vectors } => {
                let mut set = encode_attributes(&self.schema, attributes);
                set.extend(first_seen.map(|time| (FIRST_SEEN.to_owned(), time.as_micros().to_string().into_bytes())));
                set.extend(vectors.iter().map(|(generation, vector)| (embedding_field(generation), vector.clone())));
                let declared = self.schema.fields().iter().map(|(name, _)| name);
                let remove = declared.filter(|name| *replace && !attributes.contains_key(*name)).cloned().collect();
                HashWrite { key: layout.item(id), position: *position, change: HashChange::Set { set, remove } }
            }
        }
    }

    /// Every declared attribute of each item, in the order of `ids`; none where there is no such item.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn read(&self, ids: &[&str]) -> Result<Vec<Option<StoredItem>>, RedisError> {
        let names: Vec<&str> = self.schema.fields().iter().map(|(name, _)| name.as_str()).collect();
        self.read_attributes(ids, &names).await
    }

    /// These attributes of each item, in the order of `ids`; none where there is no such item.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn read_attributes(&self, ids: &[&str], names: &[&str]) -> Result<Vec<Option<StoredItem>>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.cmd("HMGET").arg(self.client.layout().item(id)).arg(&[VERSION, DELETED, FIRST_SEEN]).arg(names);
        }
        let answers = self.client.pipeline(READ, &pipeline).await?;
        answers.into_iter().map(|answer| self.stored(answer?, names)).collect()
    }

    fn stored(&self, answer: Value, names: &[&str]) -> Result<Option<StoredItem>, RedisError> {
        let unreadable = RedisError::answer(READ.name(), "the fields of a hash", &answer);
        let mut values = list(answer).ok_or(unreadable)?.into_iter().map(bytes);
        let (version, deleted, first_seen) =
            (values.next().flatten(), values.next().flatten(), values.next().flatten());
        // A hash without version is none of ours: somebody else wrote to our names, or the server lost part of it.
        let Some(version) = version.as_deref().and_then(position).filter(|_| deleted.is_none()) else {
            return Ok(None);
        };
        let fields: Vec<(&str, Vec<u8>)> =
            names.iter().copied().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        let attributes = decode_attributes(&self.schema, fields.iter().map(|(name, value)| (*name, value.as_slice())));
        Ok(Some(StoredItem { attributes, first_seen: first_seen.as_deref().and_then(time), version }))
    }
}

/// A log position in a field.
pub(crate) fn position(bytes: &[u8]) -> Option<Position> {
    std::str::from_utf8(bytes).ok()?.parse().ok().map(Position)
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    match decode_value(tastemaker_types::AttributeType::Time, bytes) {
        Some(tastemaker_types::Value::Time(time)) => Some(time),
        _ => None,
    }
}
