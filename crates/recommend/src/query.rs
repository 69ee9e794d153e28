//! One request as its stages see it: everything it needs is pinned here before the first stage runs and nothing changes after, so that no
//! two stages see different catalogs or generations.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use tastemaker_features::{Liked, OnlineState, Rankings};
use tastemaker_models::ModelError;
use tastemaker_pipeline::StageError;
use tastemaker_store::{Bitmap, Catalog, CatalogSnapshot};
use tastemaker_types::{Attributes, Timestamp, Window};

use crate::expressions::Condition;
use crate::features::Reading;
use crate::generation::{Pinned, ServingGeneration};
use crate::names::Compiled;

/// What each signal counts in the score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weights {
    pub(crate) relevance: f32,
    pub(crate) similarity: f32,
    pub(crate) popularity: f32,
    pub(crate) freshness: f32,
}

/// A condition, and who meets the part of it that reads item attributes alone, if there is such a part.
#[derive(Debug, Clone)]
pub(crate) struct Admitting {
    pub(crate) condition: Arc<Condition>,
    pub(crate) rows: Option<Arc<Bitmap>>,
}

/// Who may be in the answer. Each set is over the rows of the pinned catalog.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// The project's condition.
    pub(crate) eligibility: Option<Admitting>,
    /// The request's condition.
    pub(crate) filter: Option<Admitting>,
    pub(crate) excluded: HashSet<u32>,
    pub(crate) seen: HashSet<u32>,
    /// All of the above together, as far as the catalog can tell, and alive: retrieval looks nowhere else, so that nothing is cut off before it is
    /// filtered.
    pub(crate) admitted: Bitmap,
}

impl Admission {
    /// What is checked on candidates, since the catalog cannot tell.
    pub(crate) fn on_features(&self) -> impl Iterator<Item = &Compiled> {
        let conditions = [&self.eligibility, &self.filter].into_iter().flatten();
        conditions.filter_map(|admitting| admitting.condition.features.as_ref())
    }

    /// Whether candidates will be dropped that retrieval could not know of.
    pub(crate) fn narrows(&self) -> bool {
        self.on_features().any(Compiled::varies)
    }
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
    pub(crate) boost: Option<Arc<Compiled>>,
    /// For whom, if it is for anybody.
    pub(crate) user_id: Option<String>,
    /// What is known of the user, as far as an expression reads it.
    pub(crate) user_attributes: Attributes,
    /// The request's parameters.
    pub(crate) context: Attributes,
    /// The features to read, if any are needed.
    pub(crate) reading: Option<Reading>,
    pub(crate) state: Arc<OnlineState>,
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

    /// The direction of what the user liked last. The inner product with an item's unit vector is a cosine.
    pub(crate) fn taste(&self) -> Option<(&ServingGeneration, &[f32])> {
        let generation = self.generation.as_deref()?;
        let taste = self.taste.get_or_init(|| generation.taste(&self.history));
        taste.as_deref().map(|taste| (generation, taste))
    }

    /// How many candidates an answer needs before the last check, if there are that many: all that are considered where features will drop some.
    pub(crate) fn wanted(&self) -> usize {
        let enough = if self.admission.narrows() { self.candidates } else { self.limit + self.reserve };
        enough.min(self.admission.admitted.count())
    }
}
