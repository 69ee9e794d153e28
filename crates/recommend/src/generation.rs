//! One generation as it serves: item vectors, the encoder that makes user vectors to go with them, and the index over them, checked against
//! each other once and immutable from then on.

use std::sync::Arc;

use tastemaker_artifacts::{ENCODER, Generation, INDEX, ITEM_FACTORS, ITEM_IDS, IdList, Manifest};
use tastemaker_features::{Embeddings, Liked};
use tastemaker_models::{Matrix, ModelError, QueryEncoder};
use tastemaker_pipeline::rank;
use tastemaker_store::index::{Hit, Hits, IndexError, NO_ROW, Plan, PlannedIndex, SearchParams, VectorIndex};
use tastemaker_store::{Bitmap, Catalog};
use tastemaker_types::Timestamp;

use crate::GenerationError;
use crate::check::check_users;
use crate::numeric::{dot, norm};

/// A generation's model in memory, its item vectors mapped from their file: what is the same whatever items it serves.
pub struct Model {
    manifest: Manifest,
    ids: IdList,
    factors: Matrix,
    /// Lengths of the factors.
    norms: Vec<f32>,
    encoder: QueryEncoder,
}

impl Model {
    /// Loads the model of `generation`, whose checksums were verified when it was opened.
    ///
    /// # Errors
    /// [`GenerationError`] if a file is not what it should be or two do not go together: NaN or infinite factors, another dimension, another
    /// number of items.
    pub fn load(generation: &Generation) -> Result<Self, GenerationError> {
        let manifest = generation.manifest().clone();
        let version = manifest.version.0;
        let artifact = |source| GenerationError::Artifact { version, source };
        let model = |file| move |source| GenerationError::Model { version, file, source };

        let ids = IdList::read(&generation.file(ITEM_IDS).map_err(artifact)?).map_err(artifact)?;
        let factors =
            Matrix::from_bytes(generation.map(ITEM_FACTORS).map_err(artifact)?).map_err(model(ITEM_FACTORS))?;
        let encoder =
            QueryEncoder::from_bytes((*generation.map(ENCODER).map_err(artifact)?).as_ref()).map_err(model(ENCODER))?;
        check(version, "the number of item ids", ids.len(), manifest.model.items)?;
        check(version, "the number of item vectors", factors.rows(), manifest.model.items)?;
        check(version, "the length of the item vectors", factors.cols(), manifest.model.rank)?;
        encoder.check_factors(&factors).map_err(model(ENCODER))?;
        check_users(generation)?;
        let norms = factors.as_slice().chunks_exact(factors.cols().max(1)).map(norm).collect();
        Ok(Self { manifest, ids, factors, norms, encoder })
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its items with their vectors, by place.
    pub fn items(&self) -> impl ExactSizeIterator<Item = (&str, &[f32])> {
        self.ids.iter().zip(self.factors.as_slice().chunks_exact(self.factors.cols().max(1)))
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of the item at a place.
    pub fn id(&self, place: u32) -> Option<&str> {
        self.ids.get(place as usize)
    }

    /// The length of the longest item vector.
    pub fn longest(&self) -> f32 {
        self.norms.iter().copied().fold(0.0, f32::max)
    }

    /// The vector at a place, and its length.
    pub fn vector(&self, place: u32) -> Option<(&[f32], f32)> {
        Some((self.factors.get(place as usize)?, *self.norms.get(place as usize)?))
    }

    /// The exact fold-in of places with weights; `None` of nothing.
    ///
    /// # Errors
    /// A place or a weight that cannot be, or a system that has no solution.
    pub fn fold_in(&self, liked: &[(u32, f32)]) -> Result<Option<Vec<f32>>, ModelError> {
        if liked.is_empty() {
            return Ok(None);
        }
        self.encoder.user_vector(&self.factors, liked).map(Some)
    }
}

/// The latest liked items that tell what the user likes now.
const TASTE_ITEMS: usize = 5;
/// What each earlier one of them counts relative to the one after it.
const TASTE_DECAY: f32 = 0.7;

impl Model {
    /// The direction of what was liked last, of places with the latest first: the unit vectors of the first ones that have one, each earlier one
    /// counting less, summed and made a unit vector again. The inner product with an item's unit vector is a cosine.
    pub fn taste(&self, latest_first: impl Iterator<Item = u32>) -> Option<Vec<f32>> {
        let mut sum = vec![0f32; self.factors.cols()];
        let mut weight = 1f32;
        let vectors = latest_first.filter_map(|place| self.vector(place));
        for (vector, norm) in vectors.filter(|(_, norm)| *norm > 0.0).take(TASTE_ITEMS) {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value / norm);
            weight *= TASTE_DECAY;
        }
        let length = norm(&sum);
        (length > 0.0 && length.is_finite()).then(|| sum.into_iter().map(|value| value / length).collect())
    }
}

fn check(version: u64, what: &'static str, found: usize, expected: usize) -> Result<(), GenerationError> {
    let fits = found == expected;
    if fits { Ok(()) } else { Err(GenerationError::Mismatch { version, what, found, expected }) }
}

/// A generation as it serves the items of one catalog.
pub struct ServingGeneration {
    model: Arc<Model>,
    /// None where the items are so few that all are looked at.
    index: Option<Box<dyn VectorIndex>>,
    /// How many rows have a vector.
    len: usize,
    /// The model's place of a catalog row; [`NO_ROW`] where it has none.
    places: Vec<u32>,
}

impl ServingGeneration {
    /// Loads `generation`, whose checksums were verified when it was opened, for the items of `catalog`. Items that the catalog does not know are
    /// never found.
    ///
    /// # Errors
    /// As [`Model::load`], and if the index does not go with the model.
    pub fn load(generation: &Generation, catalog: &Catalog) -> Result<Self, GenerationError> {
        let model = Model::load(generation)?;
        let version = model.manifest.version.0;
        let artifact = |source| GenerationError::Artifact { version, source };
        let index_error = |source| GenerationError::Index { version, source };

        let catalog = catalog.snapshot();
        let mut places = vec![NO_ROW; catalog.len()];
        let mut rows = Vec::with_capacity(model.ids.len());
        for (position, id) in model.ids.iter().enumerate() {
            let row = catalog.row(id).unwrap_or(NO_ROW);
            if let Some(place) = places.get_mut(row as usize) {
                *place = position as u32;
            }
            rows.push(row);
        }
        let known = rows.iter().filter(|row| **row != NO_ROW).count();
        let index = PlannedIndex::load(&generation.file(INDEX).map_err(artifact)?, Some(rows)).map_err(index_error)?;
        check(version, "the length of the indexed vectors", index.dim(), model.factors.cols())?;
        check(version, "the number of indexed vectors", index.len(), known)?;
        Ok(Self { model: Arc::new(model), len: index.len(), index: Some(Box::new(index)), places })
    }

    /// The model over a few items, each row at its place in the model or [`NO_ROW`]: they are searched one by one.
    pub fn of_few(model: &Arc<Model>, places: Vec<u32>) -> Self {
        let len = places.iter().filter(|place| (**place as usize) < model.len()).count();
        Self { model: Arc::clone(model), index: None, len, places }
    }

    /// Its number.
    pub fn version(&self) -> u64 {
        self.model.manifest.version.0
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.model.manifest
    }

    /// Its model, which goes with other items, too.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Items that are in it and in the catalog.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` rows of largest inner product with `query`, among the members of `filter` where one is given.
    pub(crate) fn nearest(&self, query: &[f32], k: usize, filter: Option<&Bitmap>) -> Result<Hits, IndexError> {
        if let Some(index) = &self.index {
            return index.search(query, k, filter, &SearchParams::default());
        }
        let passes = |row: &u32| filter.is_none_or(|filter| filter.contains(*row));
        let scored = (0..self.places.len() as u32).filter(passes).filter_map(|row| {
            let (vector, _) = self.vector(row)?;
            Some((row, dot(query, vector)))
        });
        let (rows, scores): (Vec<u32>, Vec<f32>) = scored.unzip();
        let row = |place: u32| rows.get(place as usize).copied().unwrap_or(NO_ROW);
        let score = |place: u32| scores.get(place as usize).copied().unwrap_or_default();
        let best = rank(&scores, k, row).into_iter();
        let plan = if filter.is_some() { Plan::FilteredScan } else { Plan::Scan };
        Ok(Hits {
            hits: best.map(|place| Hit { row: row(place), score: score(place) }).collect(),
            plan,
            scored: rows.len(),
        })
    }

    /// The vector of a catalog row, and its length.
    pub(crate) fn vector(&self, row: u32) -> Option<(&[f32], f32)> {
        self.model.vector(self.place(row)?)
    }

    fn place(&self, row: u32) -> Option<u32> {
        self.places.get(row as usize).copied().filter(|place| *place != NO_ROW)
    }

    /// The direction of what a history, latest first, likes last.
    pub(crate) fn taste(&self, history: &[Liked]) -> Option<Vec<f32>> {
        self.model.taste(history.iter().filter_map(|liked| self.place(liked.row)))
    }

    /// The exact fold-in of a history; `None` if no item of it has a vector.
    pub(crate) fn user_vector(&self, history: &[Liked]) -> Result<Option<Vec<f32>>, ModelError> {
        let known = |liked: &Liked| Some((self.place(liked.row)?, liked.weight));
        self.model.fold_in(&history.iter().filter_map(known).collect::<Vec<_>>())
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
        self.model.manifest.created_at
    }
}

impl std::fmt::Debug for ServingGeneration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServingGeneration({}, {:?})", self.version(), self.model.factors)
    }
}

/// What a running server holds: the generation that answers, if any.
pub(crate) type Installed = arc_swap::ArcSwapOption<ServingGeneration>;

/// One pinned for a request.
pub(crate) type Pinned = Option<Arc<ServingGeneration>>;
