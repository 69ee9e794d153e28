//! One request as its stages see it: everything it needs is pinned here before the first stage runs and nothing changes after, so that no
//! two stages see different catalogs or generations.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use tastemaker_expr::Expr;
use tastemaker_features::{Liked, Rankings};
use tastemaker_models::ModelError;
use tastemaker_pipeline::StageError;
use tastemaker_store::{Bitmap, Catalog, CatalogSnapshot};
use tastemaker_types::{Timestamp, Window};

use crate::generation::{Pinned, ServingGeneration};

/// The latest liked items that tell what the user likes now.
const TASTE_ITEMS: usize = 5;
/// What each earlier one of them counts relative to the one after it.
const TASTE_DECAY: f32 = 0.7;

/// What each signal counts in the score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weights {
    pub(crate) relevance: f32,
    pub(crate) similarity: f32,
    pub(crate) popularity: f32,
    pub(crate) freshness: f32,
}

/// Who may be in the answer. Each set is over the rows of the pinned catalog.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// The project's condition, and who meets it.
    pub(crate) eligibility: Option<(Arc<Expr>, Arc<Bitmap>)>,
    /// The request's condition, and who meets it.
    pub(crate) filter: Option<(Arc<Expr>, Arc<Bitmap>)>,
    pub(crate) excluded: HashSet<u32>,
    pub(crate) seen: HashSet<u32>,
    /// All of the above together, and alive: retrieval looks nowhere else, so that nothing is cut off before it is filtered.
    pub(crate) admitted: Bitmap,
}

/// One request.
pub(crate) struct Query {
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
    /// Positions beyond the limit that a selection fills, to make up for what the last check drops.
    pub(crate) reserve: usize,
    pub(crate) candidates: usize,
    pub(crate) weights: Weights,
    pub(crate) fresh_window: Window,
    /// The catalog as it was when the request began.
    pub(crate) catalog: Arc<CatalogSnapshot>,
    /// The catalog as it changes, for the last check.
    pub(crate) live: Arc<Catalog>,
    pub(crate) generation: Pinned,
    pub(crate) rankings: Arc<Rankings>,
    /// Liked items that are still there, latest first.
    pub(crate) history: Vec<Liked>,
    pub(crate) admission: Admission,
    pub(crate) boost: Option<Arc<Expr>>,
    /// Rows to rank, for a request that brings its own.
    pub(crate) given: Vec<u32>,
    pub(crate) user_vector: Once<Result<Option<Vec<f32>>, Arc<ModelError>>>,
    pub(crate) taste: Once<Option<Vec<f32>>>,
}

/// A value that is computed by the first stage that needs it.
pub(crate) type Once<T> = OnceLock<T>;

impl Query {
    /// The user's vector in the pinned generation, by exact fold-in of the history; none without a generation or history.
    pub(crate) fn user_vector(&self) -> Result<Option<(&ServingGeneration, &[f32])>, StageError> {
        let Some(generation) = self.generation.as_deref() else { return Ok(None) };
        let vector = self.user_vector.get_or_init(|| generation.user_vector(&self.history).map_err(Arc::new));
        match vector {
            Ok(vector) => Ok(vector.as_deref().map(|vector| (generation, vector))),
            Err(error) => Err(StageError::failed(Arc::clone(error))),
        }
    }

    /// The direction of what the user liked last: the unit vectors of the last liked items that have one, each earlier one counting less, summed and made
    /// a unit vector again. The inner product with an item's unit vector is a cosine.
    pub(crate) fn taste(&self) -> Option<(&ServingGeneration, &[f32])> {
        let generation = self.generation.as_deref()?;
        let taste = self.taste.get_or_init(|| {
            let mut sum = vec![0f32; generation.manifest().model.rank];
            let mut weight = 1f32;
            let vectors = self.history.iter().filter_map(|liked| generation.vector(liked.row));
            for (vector, norm) in vectors.filter(|(_, norm)| *norm > 0.0).take(TASTE_ITEMS) {
                sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value / norm);
                weight *= TASTE_DECAY;
            }
            let length = crate::numeric::norm(&sum);
            (length > 0.0 && length.is_finite()).then(|| sum.into_iter().map(|value| value / length).collect())
        });
        taste.as_deref().map(|taste| (generation, taste))
    }

    /// How many candidates an answer needs before the last check, if there are that many.
    pub(crate) fn wanted(&self) -> usize {
        (self.limit + self.reserve).min(self.admission.admitted.count())
    }
}
