//! Users as hashes: attributes and feature values that any Redis tool reads, a vector that is a query for the item index, and an opaque
//! state from which serving goes on.

use redis::{Pipeline, Value};
use tastemaker_types::{AttributeSchema, Attributes, FeatureValue, Position};

use crate::RedisError;
use crate::client::{Client, Operation};
use crate::codec::{SEPARATOR, decode_attributes, encode_attributes, encode_number, encode_tag};
use crate::items::position;
use crate::layout::{DELETED, EMBEDDING, STATE, VERSION};
use crate::reply::{bytes, fields, list};
use crate::write::{HashChange, HashWrite, Written};

const READ: Operation = Operation::repeatable("read_users");

/// A change of one user. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserUpdate {
    /// Attribute values by name.
    pub attributes: Attributes,
    /// Attributes to remove.
    pub removed: Vec<String>,
    /// Feature values by name; none removes it.
    pub features: Vec<(String, Option<FeatureValue>)>,
    /// The vector, encoded by [`crate::VectorFormat::query`].
    pub embedding: Option<Vec<u8>>,
    /// The state.
    pub state: Option<Vec<u8>>,
}

/// A change of one user.
#[derive(Debug, Clone, PartialEq)]
pub enum UserWrite {
    /// They exist, with this.
    Update {
        /// The user.
        id: String,
        /// The log position that it follows from.
        position: Position,
        /// What changes.
        update: UserUpdate,
    },
    /// They are forgotten.
    Delete {
        /// The user.
        id: String,
        /// The log position that it follows from.
        position: Position,
    },
}

/// A user as Redis has them.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredUser {
    /// Declared attributes.
    pub attributes: Attributes,
    /// Every other field by name, feature values among them, as it stands in Redis.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The vector, as it was encoded.
    pub embedding: Option<Vec<u8>>,
    /// The state.
    pub state: Option<Vec<u8>>,
    /// The log position of their last change.
    pub version: Position,
}

/// The users of a project in Redis.
#[derive(Debug, Clone)]
pub struct Users {
    client: Client,
    schema: AttributeSchema,
}

impl Users {
    /// Those whose declared attributes are `schema`.
    pub fn new(client: Client, schema: AttributeSchema) -> Self {
        Self { client, schema }
    }

    /// Does the writes, in order, and says of each what became of it. A [`Written::Stale`] state was made from an older state than Redis has:
    /// read it again, and apply what is missing.
    ///
    /// # Errors
    /// As [`Client::write_hashes`].
    pub async fn write(&self, operation: Operation, writes: &[UserWrite]) -> Result<Vec<Written>, RedisError> {
        let writes: Vec<HashWrite> = writes.iter().map(|write| self.hash(write)).collect();
        self.client.write_hashes(operation, &writes).await
    }

    fn hash(&self, write: &UserWrite) -> HashWrite {
        let key = |id: &str| self.client.layout().user(id);
        match write {
            UserWrite::Delete { id, position } => {
                HashWrite { key: key(id), position: *position, change: HashChange::Delete }
            }
            UserWrite::Update { id, position, update } => {
                let mut set = encode_attributes(&self.schema, &update.attributes);
                let mut remove = update.removed.clone();
                for (name, value) in &update.features {
                    match value {
                        Some(value) => set.push((name.clone(), encode_feature(value))),
                        None => remove.push(name.clone()),
                    }
                }
                set.extend(update.embedding.clone().map(|vector| (EMBEDDING.to_owned(), vector)));
                set.extend(update.state.clone().map(|state| (STATE.to_owned(), state)));
                HashWrite { key: key(id), position: *position, change: HashChange::Set { set, remove } }
            }
        }
    }

    /// The whole hash of each user, in the order of `ids`; none where there is no such user.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn read(&self, ids: &[&str]) -> Result<Vec<Option<StoredUser>>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.cmd("HGETALL").arg(self.client.layout().user(id));
        }
        let answers = self.client.pipeline(READ, &pipeline).await?;
        answers.into_iter().map(|answer| self.stored(answer?)).collect()
    }

    /// The state of each user and the position it is of, in the order of `ids`; none where there is no state.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn read_states(&self, ids: &[&str]) -> Result<Vec<Option<(Position, Vec<u8>)>>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            pipeline.cmd("HMGET").arg(self.client.layout().user(id)).arg(&[VERSION, STATE]);
        }
        let answers = self.client.pipeline(READ, &pipeline).await?;
        let state = |answer: Value| {
            let unreadable = RedisError::answer(READ.name(), "the fields of a hash", &answer);
            let mut values = list(answer).ok_or(unreadable)?.into_iter().map(bytes);
            let (version, state) = (values.next().flatten(), values.next().flatten());
            Ok(version.as_deref().and_then(position).zip(state))
        };
        answers.into_iter().map(|answer| state(answer?)).collect()
    }

    fn stored(&self, answer: Value) -> Result<Option<StoredUser>, RedisError> {
        let unreadable = RedisError::answer(READ.name(), "a hash", &answer);
        let (mut embedding, mut state, mut version, mut deleted) = (None, None, None, false);
        let (mut attributes, mut others) = (Vec::new(), Vec::new());
        for (name, value) in fields(answer).ok_or(unreadable)? {
            match name.as_str() {
                VERSION => version = position(&value),
                DELETED => deleted = true,
                STATE => state = Some(value),
                EMBEDDING => embedding = Some(value),
                _ if self.schema.get(&name).is_some() => attributes.push((name, value)),
                _ => others.push((name, value)),
            }
        }
        let Some(version) = version.filter(|_| !deleted) else { return Ok(None) };
        let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let attributes = decode_attributes(&self.schema, attributes);
        Ok(Some(StoredUser { attributes, fields: others, embedding, state, version }))
    }
}

/// A feature value for whoever looks at the hash: numbers and texts as they are, lists with ASCII's unit separator between, `name=number` in
/// maps, vectors as f32 little-endian.
pub fn encode_feature(value: &FeatureValue) -> Vec<u8> {
    let joined = |parts: Vec<String>| parts.join(&SEPARATOR.to_string()).into_bytes();
    match value {
        FeatureValue::Number(number) => encode_number(*number).into_bytes(),
        FeatureValue::Text(text) => text.clone().into_bytes(),
        FeatureValue::Bool(truth) => if *truth { "1" } else { "0" }.as_bytes().to_vec(),
        FeatureValue::Time(time) => time.as_micros().to_string().into_bytes(),
        FeatureValue::Texts(texts) => joined(texts.iter().map(|text| encode_tag(text)).collect()),
        FeatureValue::Vector(vector) => vector.iter().flat_map(|x| x.to_le_bytes()).collect(),
        FeatureValue::Map(map) => joined(
            map.iter().map(|(name, number)| format!("{}={}", encode_tag(name), encode_number(*number))).collect(),
        ),
    }
}
