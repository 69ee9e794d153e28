//! Loading a generation: its vectors into the hashes that are there, its index beside the one that serves, a check that the index finds what an
//! exact search does, and the flip of the alias. Every step may be done again, and a load that was cut off goes on where it was.

mod load;
mod retire;
mod verify;

use tastemaker_types::AttributeSchema;

use crate::layout::VectorFormat;
use crate::search::IndexSchema;
use crate::{Client, RedisError};

pub use verify::{Exact, Verified};

/// A generation that is to be in Redis.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Its name: digits and letters.
    pub generation: String,
    /// The length of its factors.
    pub dimension: usize,
    /// The largest norm of its items' factors.
    pub max_norm: f32,
    /// The declared attributes of items.
    pub attributes: AttributeSchema,
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Which part of it.
    pub step: Step,
    /// Entities that are done; of the index, thousandths.
    pub done: u64,
}

/// A part of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Vectors of items.
    Items,
    /// Vectors of users.
    Users,
    /// The index.
    Index,
    /// Vectors of an older generation being removed.
    Cleanup,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Users => "users",
            Self::Index => "index",
            Self::Cleanup => "cleanup",
        }
    }
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Entities that were there and have their vector now.
    pub written: u64,
    /// Entities without hash: deleted since, or never written.
    pub absent: u64,
    /// Entities that an earlier attempt had done.
    pub resumed: u64,
}

/// Puts generations into one Redis.
#[derive(Debug, Clone)]
pub struct Publisher {
    client: Client,
    publication: Publication,
}

impl Publisher {
    /// Of one generation.
    ///
    /// # Errors
    /// If its name could be mistaken for something else in the names of fields and indexes.
    pub fn new(client: Client, publication: Publication) -> Result<Self, RedisError> {
        let name = &publication.generation;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let message = format!("'{name}' cannot name a generation in Redis; use at most 64 letters and digits");
            return Err(RedisError::Settings(message));
        }
        Ok(Self { client, publication })
    }

    /// How its vectors stand in Redis.
    pub fn format(&self) -> VectorFormat {
        VectorFormat { dimension: self.publication.dimension, kind: self.client.config().index.vector_type }
    }

    fn schema(&self) -> IndexSchema<'_> {
        IndexSchema {
            generation: &self.publication.generation,
            format: self.format(),
            attributes: &self.publication.attributes,
            index: &self.client.config().index,
        }
    }

    fn cursor(&self, step: Step) -> String {
        format!("publish:{}:{}", self.publication.generation, step.name())
    }
}
