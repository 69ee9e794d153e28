//! One generation as it serves: item vectors, the encoder that makes user vectors to go with them, and the index over them, checked against
//! each other once and immutable from then on.

use std::sync::Arc;

use tastemaker_artifacts::{ENCODER, Generation, INDEX, ITEM_FACTORS, ITEM_IDS, IdList, Manifest};
use tastemaker_features::{Embeddings, Liked};
use tastemaker_models::{Matrix, ModelError, QueryEncoder};
use tastemaker_store::Catalog;
use tastemaker_store::index::{NO_ROW, PlannedIndex, VectorIndex};
use tastemaker_types::Timestamp;

use crate::GenerationError;
use crate::check::check_users;
use crate::numeric::norm;

/// A generation in memory, its item vectors mapped from its file.
pub struct ServingGeneration {
    manifest: Manifest,
    factors: Matrix,
    /// Lengths of the factors.
    norms: Vec<f32>,
    encoder: QueryEncoder,
    index: PlannedIndex,
    /// The factor's place of a catalog row; [`NO_ROW`] where it has none.
    places: Vec<u32>,
}

impl ServingGeneration {
    /// Loads `generation`, whose checksums were verified when it was opened, for the items of `catalog`. Items that the catalog does not know are
    /// never found.
    ///
    /// # Errors
    /// [`GenerationError`] if a file is not what it should be or two do not go together: NaN or infinite factors, another dimension, another
    /// number of items.
    pub fn load(generation: &Generation, catalog: &Catalog) -> Result<Self, GenerationError> {
        let manifest = generation.manifest().clone();
        let version = manifest.version.0;
        let artifact = |source| GenerationError::Artifact { version, source };
        let model = |file| move |source| GenerationError::Model { version, file, source };
        let index_error = |source| GenerationError::Index { version, source };
        let check = |what, found: usize, expected: usize| {
            let fits = found == expected;
            if fits { Ok(()) } else { Err(GenerationError::Mismatch { version, what, found, expected }) }
        };

        let ids = IdList::read(&generation.file(ITEM_IDS).map_err(artifact)?).map_err(artifact)?;
        let factors =
            Matrix::from_bytes(generation.map(ITEM_FACTORS).map_err(artifact)?).map_err(model(ITEM_FACTORS))?;
        let encoder =
            QueryEncoder::from_bytes((*generation.map(ENCODER).map_err(artifact)?).as_ref()).map_err(model(ENCODER))?;
        check("the number of item ids", ids.len(), manifest.model.items)?;
        check("the number of item vectors", factors.rows(), manifest.model.items)?;
        check("the length of the item vectors", factors.cols(), manifest.model.rank)?;
        encoder.check_factors(&factors).map_err(model(ENCODER))?;
        check_users(generation)?;

        let catalog = catalog.snapshot();
        let mut places = vec![NO_ROW; catalog.len()];
        let mut rows = Vec::with_capacity(ids.len());
        for (position, id) in ids.iter().enumerate() {
            let row = catalog.row(id).unwrap_or(NO_ROW);
            if let Some(place) = places.get_mut(row as usize) {
                *place = position as u32;
            }
            rows.push(row);
        }
        let known = rows.iter().filter(|row| **row != NO_ROW).count();
        let index = PlannedIndex::load(&generation.file(INDEX).map_err(artifact)?, Some(rows)).map_err(index_error)?;
        check("the length of the indexed vectors", index.dim(), factors.cols())?;
        check("the number of indexed vectors", index.len(), known)?;
        let norms = factors.as_slice().chunks_exact(factors.cols().max(1)).map(norm).collect();
        Ok(Self { manifest, factors, norms, encoder, index, places })
    }

    /// Its number.
    pub fn version(&self) -> u64 {
        self.manifest.version.0
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Items that are in it and in the catalog.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn index(&self) -> &PlannedIndex {
        &self.index
    }

    /// The vector of a catalog row, and its length.
    pub(crate) fn vector(&self, row: u32) -> Option<(&[f32], f32)> {
        let place = self.place(row)? as usize;
        Some((self.factors.get(place)?, *self.norms.get(place)?))
    }

    fn place(&self, row: u32) -> Option<u32> {
        self.places.get(row as usize).copied().filter(|place| *place != NO_ROW)
    }

    /// The exact fold-in of a history; `None` if no item of it has a vector.
    pub(crate) fn user_vector(&self, history: &[Liked]) -> Result<Option<Vec<f32>>, ModelError> {
        let known: Vec<(u32, f32)> =
            history.iter().filter_map(|liked| Some((self.place(liked.row)?, liked.weight))).collect();
        if known.is_empty() {
            return Ok(None);
        }
        self.encoder.user_vector(&self.factors, &known).map(Some)
    }
}

impl Embeddings for ServingGeneration {
    fn user(&self, history: &[Liked]) -> Option<Vec<f32>> {
        self.user_vector(history).ok().flatten()
    }

    fn item(&self, row: u32) -> Option<Vec<f32>> {
        self.vector(row).map(|(vector, _)| vector.to_vec())
    }

    fn trained(&self) -> Timestamp {
        self.manifest.created_at
    }
}

impl std::fmt::Debug for ServingGeneration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServingGeneration({}, {:?})", self.version(), self.factors)
    }
}

/// What a running server holds: the generation that answers, if any.
pub(crate) type Installed = arc_swap::ArcSwapOption<ServingGeneration>;

/// One pinned for a request.
pub(crate) type Pinned = Option<Arc<ServingGeneration>>;
