//! Indexes and the alias: making, asking about, pointing and dropping them.

use std::collections::BTreeSet;

use redis::{Cmd, Value};
use tastemaker_config::{RedisIndexConfig, RedisIndexKind, RedisVectorType};
use tastemaker_types::{AttributeSchema, AttributeType};

use super::query::named;
use crate::RedisError;
use crate::client::{Client, Operation, whole_name};
use crate::codec::SEPARATOR;
use crate::layout::{EMBEDDING, VectorFormat, embedding_field};
use crate::reply::{list, number, pairs, text};

const CREATE: Operation = Operation::repeatable("create_index").bulk();
const DROP: Operation = Operation::repeatable("drop_index").bulk();
const ALIAS: Operation = Operation::repeatable("alias").bulk();
const INFO: Operation = Operation::repeatable("index_info").bulk();

const OPTIONS: [&str; 12] = [
    "as",
    "sortable",
    "unf",
    "noindex",
    "indexempty",
    "indexmissing",
    "withsuffixtrie",
    "separator",
    "casesensitive",
    "nostem",
    "weight",
    "phonetic",
];

/// How an attribute can be filtered by in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexField {
    /// Labels: `tag`, `tags`, and `bool` as 1 and 0.
    Tag,
    /// `number`, and `time` as microseconds since 1970.
    Numeric,
}

impl IndexField {
    /// Of an attribute. Text is not indexed, and neither is what is called as an option of the module's schemas is, since the module would
    /// read its name as that option of the attribute before it.
    pub fn of(name: &str, kind: AttributeType) -> Option<Self> {
        if OPTIONS.iter().any(|option| name.eq_ignore_ascii_case(option)) {
            return None;
        }
        match kind {
            AttributeType::Tag | AttributeType::Tags | AttributeType::Bool => Some(Self::Tag),
            AttributeType::Number | AttributeType::Time => Some(Self::Numeric),
            AttributeType::Text => None,
        }
    }
}

/// What the index of one generation is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSchema<'s> {
    /// The generation.
    pub generation: &'s str,
    /// Its vectors.
    pub format: VectorFormat,
    /// The declared attributes of items.
    pub attributes: &'s AttributeSchema,
    /// Graph or not.
    pub index: &'s RedisIndexConfig,
}

impl IndexSchema<'_> {
    fn command(&self, name: &str, item_prefix: &str) -> Cmd {
        let mut command = redis::cmd("FT.CREATE");
        command.arg(name).arg("ON").arg("HASH").arg("PREFIX").arg(1).arg(item_prefix).arg("SCHEMA");
        command.arg(embedding_field(self.generation)).arg("AS").arg(EMBEDDING).arg("VECTOR");
        let kind = match self.format.kind {
            RedisVectorType::Float32 => "FLOAT32",
            RedisVectorType::Float16 => "FLOAT16",
        };
        match self.index.kind {
            RedisIndexKind::Flat => command.arg("FLAT").arg(6),
            RedisIndexKind::Hnsw => command.arg("HNSW").arg(12),
        };
        command.arg("TYPE").arg(kind).arg("DIM").arg(self.format.stored_dimension());
        command.arg("DISTANCE_METRIC").arg("COSINE");
        if self.index.kind == RedisIndexKind::Hnsw {
            command.arg("M").arg(self.index.m);
            command.arg("EF_CONSTRUCTION").arg(self.index.ef_construction);
            command.arg("EF_RUNTIME").arg(self.index.ef_runtime);
        }
        for (name, kind) in self.attributes.fields() {
            match IndexField::of(name, *kind) {
                // Whether a value is missing matters: NOT (category = 'a') is not true of an item without category.
                Some(IndexField::Tag) => {
                    command.arg(name).arg("TAG").arg("SEPARATOR").arg(SEPARATOR.to_string());
                    command.arg("CASESENSITIVE").arg("INDEXMISSING");
                }
                Some(IndexField::Numeric) => {
                    command.arg(name).arg("NUMERIC");
                }
                None => {}
            }
        }
        command
    }
}

/// How an index is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IndexInfo {
    /// Its own name, also when asked by alias.
    pub name: String,
    /// Hashes in it, those without vector included.
    pub documents: u64,
    /// Hashes that it could not take, since a field was not of its type.
    pub failures: u64,
    /// Why the last one could not be taken; empty if all could.
    pub last_failure: String,
    /// Whether hashes that were there before it are still being read.
    pub indexing: bool,
    /// How much of them has been read, 0 to 1.
    pub indexed: f64,
    /// Memory of the vectors, in bytes.
    pub vector_bytes: u64,
    /// Memory of everything else in it, in bytes.
    pub other_bytes: u64,
}

impl IndexInfo {
    /// Together with the part of another node.
    fn with(self, part: Self) -> Self {
        Self {
            name: self.name,
            documents: self.documents + part.documents,
            failures: self.failures + part.failures,
            last_failure: if self.last_failure.is_empty() { part.last_failure } else { self.last_failure },
            indexing: self.indexing || part.indexing,
            indexed: self.indexed.min(part.indexed),
            vector_bytes: self.vector_bytes + part.vector_bytes,
            other_bytes: self.other_bytes + part.other_bytes,
        }
    }

    fn read(answer: Value) -> Result<Self, RedisError> {
        let unreadable = RedisError::answer(INFO.name(), "numbers of an index", &answer);
        let mut info = Self { indexed: 1.0, ..Self::default() };
        for (name, value) in pairs(answer).ok_or(unreadable)? {
            let Some(name) = text(name) else { continue };
            let megabytes = |value: &Value| (number(value).unwrap_or(0.0).max(0.0) * 1_048_576.0) as u64;
            match name.as_str() {
                "index_name" => info.name = text(value).map(|name| whole_name(&name).to_owned()).unwrap_or_default(),
                "num_docs" => info.documents = number(&value).unwrap_or(0.0) as u64,
                "hash_indexing_failures" => info.failures = number(&value).unwrap_or(0.0) as u64,
                "indexing" => info.indexing = number(&value).unwrap_or(0.0) != 0.0,
                "percent_indexed" => info.indexed = number(&value).unwrap_or(0.0),
                "vector_index_sz_mb" => info.vector_bytes = megabytes(&value),
                "Index Errors" => info.last_failure = last_failure(value).unwrap_or_default(),
                // The total is of some of the others.
                "total_index_memory_sz_mb" => {}
                size if size.ends_with("_sz_mb") || size.ends_with("_size_mb") => info.other_bytes += megabytes(&value),
                _ => {}
            }
        }
        Ok(info)
    }
}

fn last_failure(value: Value) -> Option<String> {
    let last = pairs(value)?
        .into_iter()
        .find_map(|(name, value)| (text(name)? == "last indexing error").then(|| text(value))?)?;
    Some(if last == "N/A" { String::new() } else { last })
}

/// A command about an index, or an alias, or a part of one.
fn about(command: &str, name: &str, ending: &str) -> Cmd {
    let mut command = redis::cmd(command);
    command.arg([name, ending].concat());
    command
}

impl Client {
    /// Makes the index of a generation; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn create_index(&self, schema: &IndexSchema<'_>) -> Result<(), RedisError> {
        let name = self.layout().index(schema.generation);
        let command = |ending: &str| schema.command(&[&name, ending].concat(), self.layout().item_prefix());
        self.call_parts(CREATE, command).await?.into_iter().try_for_each(|answer| match answer {
            Err(RedisError::Refused { message, .. }) if message.to_ascii_lowercase().contains("already exists") => {
                Ok(())
            }
            result => result.map(|_| ()),
        })
    }

    /// How the index (or alias) of this name is.
    ///
    /// # Errors
    /// [`RedisError::NoIndex`] if there is none.
    pub async fn index_info(&self, name: &str) -> Result<IndexInfo, RedisError> {
        let answers = self.call_parts(INFO, |ending| about("FT.INFO", name, ending)).await?.into_iter();
        let parts = answers.map(|answer| IndexInfo::read(answer.map_err(|error| named(error, name))?));
        parts.reduce(|all, part| Ok(all?.with(part?))).unwrap_or_else(|| Ok(IndexInfo::default()))
    }

    /// The names of all indexes of this Redis, also of other projects.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn indexes(&self) -> Result<Vec<String>, RedisError> {
        let all: BTreeSet<String> = self.indexes_of_nodes().await?.into_iter().flatten().collect();
        Ok(all.into_iter().collect())
    }

    /// Whether there is an index of any generation of this project.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn has_own_index(&self) -> Result<bool, RedisError> {
        Ok(self.indexes().await?.iter().any(|index| self.layout().generation_of_index(index).is_some()))
    }

    /// Whether the index of `generation` is there, with each of its parts.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn has_index(&self, generation: &str) -> Result<bool, RedisError> {
        let index = self.layout().index(generation);
        let nodes = self.indexes_of_nodes().await?;
        let is_there = |names: &BTreeSet<String>| names.contains(&index);
        Ok(if self.has_parts(INFO).await? { nodes.iter().all(is_there) } else { nodes.iter().any(is_there) })
    }

    /// What each node of a cluster says that there is, or the one server.
    async fn indexes_of_nodes(&self) -> Result<Vec<BTreeSet<String>>, RedisError> {
        let mut nodes = Vec::new();
        let next = |answer: Option<Value>| {
            let Some(answer) = answer else { return Some(redis::cmd("FT._LIST")) };
            let listed = list(answer).unwrap_or_default().into_iter().filter_map(text);
            nodes.push(listed.map(|name| whole_name(&name).to_owned()).collect());
            None
        };
        self.call_each_node(INFO, next).await?;
        Ok(nodes)
    }

    /// Has the alias name the index of `generation`, whatever it named before: one step, no search in between fails.
    ///
    /// # Errors
    /// [`RedisError::NoIndex`] if the generation has no index.
    pub async fn point_alias(&self, generation: &str) -> Result<(), RedisError> {
        let (alias, index) = (self.layout().alias(), self.layout().index(generation));
        let command = |ending: &str| {
            let mut command = about("FT.ALIASUPDATE", &alias, ending);
            command.arg([&index, ending].concat());
            command
        };
        let mut answers = self.call_parts(ALIAS, command).await?.into_iter();
        answers.try_for_each(|answer| answer.map(|_| ()).map_err(|error| named(error, &index)))
    }

    /// Takes the alias away; none is fine.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn remove_alias(&self) -> Result<(), RedisError> {
        let alias = self.layout().alias();
        let answers = self.call_parts(ALIAS, |ending| about("FT.ALIASDEL", &alias, ending)).await?;
        answers.into_iter().try_for_each(|answer| match answer {
            Err(RedisError::Refused { message, .. }) if message.to_ascii_lowercase().contains("does not exist") => {
                Ok(())
            }
            Err(RedisError::NoIndex { .. }) => Ok(()),
            result => result.map(|_| ()),
        })
    }

    /// The generation that the alias names; none if there is no alias.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn serving_generation(&self) -> Result<Option<String>, RedisError> {
        match self.index_info(&self.layout().alias()).await {
            Ok(info) => Ok(self.layout().generation_of_index(&info.name).map(str::to_owned)),
            Err(RedisError::NoIndex { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drops the index of a generation, and no hash; none is fine.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn drop_index(&self, generation: &str) -> Result<(), RedisError> {
        let index = self.layout().index(generation);
        let answers = self.call_parts(DROP, |ending| about("FT.DROPINDEX", &index, ending)).await?;
        answers.into_iter().try_for_each(|answer| match answer {
            Err(RedisError::NoIndex { .. }) => Ok(()),
            result => result.map(|_| ()),
        })
    }
}
