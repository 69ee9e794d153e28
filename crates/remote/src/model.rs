//! The model of the generation that Redis serves, from this server's own files, with a place for each id.

use std::sync::Arc;

use hashbrown::HashTable;
use tastemaker_artifacts::{GenerationStore, Version};
use tastemaker_recommend::Model;
use xxhash_rust::xxh3::xxh3_64;

use crate::RemoteError;

/// A model whose items are found by id.
pub struct PublishedModel {
    model: Arc<Model>,
    /// Places, by the hash of the id.
    places: HashTable<u32>,
    longest: f32,
}

impl PublishedModel {
    pub(crate) fn new(model: Model) -> Self {
        let mut places = HashTable::with_capacity(model.len());
        let id = |place: &u32| model.id(*place).unwrap_or_default();
        for place in 0..model.len() as u32 {
            places.insert_unique(xxh3_64(id(&place).as_bytes()), place, |place| xxh3_64(id(place).as_bytes()));
        }
        let longest = model.longest();
        Self { model: Arc::new(model), places, longest }
    }

    /// It.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What it is called in Redis.
    pub fn name(&self) -> String {
        self.model.manifest().version.0.to_string()
    }

    /// The length of the longest item vector.
    pub fn longest(&self) -> f32 {
        self.longest
    }

    /// The place of an item that the model knows.
    pub fn place(&self, id: &str) -> Option<u32> {
        let same = |place: &u32| self.model.id(*place) == Some(id);
        self.places.find(xxh3_64(id.as_bytes()), same).copied()
    }
}

/// Loads models by the names that Redis knows them by.
#[derive(Debug, Clone)]
pub struct Models(GenerationStore);

impl Models {
    /// From the generations of this store.
    pub fn new(store: GenerationStore) -> Self {
        Self(store)
    }

    /// The model of the generation of this name, checked whole.
    ///
    /// # Errors
    /// Its files are not here, or not what they should be.
    pub fn load(&self, version: u64) -> Result<PublishedModel, RemoteError> {
        let generation = self.0.load(Version(version))?;
        Ok(PublishedModel::new(Model::load(&generation)?))
    }

    /// The champion's version.
    ///
    /// # Errors
    /// There is none, or the store cannot be read.
    pub fn champion(&self) -> Result<u64, RemoteError> {
        Ok(self.0.champion()?.ok_or(RemoteError::NoGeneration)?.0)
    }
}
