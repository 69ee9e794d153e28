//! Retrieval: the rows whose vectors have the largest inner product with a query vector, among those a filter lets pass. One trait, an
//! exact scan, a graph, and the index that plans between them. Where the vectors come from (training) and what rows mean (the catalog) is
//! no concern of this module.

mod build;
mod codes;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod delta;
mod error;
mod file;
mod flat;
mod graph;
mod hnsw;
mod kernel;
mod live;
mod memory;
mod order;
mod planner;
mod reach;
mod scan;
mod storage;
#[cfg(test)]
mod tests;
mod vectors;
mod walk;

pub use build::BuildOptions;
pub use error::IndexError;
pub use flat::FlatIndex;
pub use hnsw::HnswIndex;
pub use planner::PlannedIndex;

use std::path::Path;

use crate::Bitmap;

/// The most components a vector may have.
pub const MAX_DIM: usize = 4096;
/// The most hits one search may ask for.
pub const MAX_K: usize = 10_000;
/// The largest `ef` of a search.
pub const MAX_EF: usize = 50_000;
/// Rows are below this: they are dense row numbers, so tables indexed by them stay small.
pub const MAX_ROWS: u32 = 1 << 28;
/// The largest magnitude of a component: beyond it an inner product could overflow an `f32`.
pub const MAX_COMPONENT: f32 = 1e15;
/// In a map from positions to rows: this position has no row, and is never returned.
pub const NO_ROW: u32 = u32::MAX;

/// A found row and its score, the inner product of its vector with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: u32,
    /// The inner product, computed in `f32` from the vector as it was given.
    pub score: f32,
}

/// What a search found, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// At most `k` rows, largest score first, equal scores by row.
    pub hits: Vec<Hit>,
    /// How the search was carried out.
    pub plan: Plan,
    /// How many vectors were scored: the work done.
    pub scored: usize,
}

/// How a search was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// Every vector was scored; the answer is exact.
    Scan,
    /// Every vector that passes the filter was scored; the answer is exact.
    FilteredScan,
    /// The graph was walked; no filter applied.
    Graph,
    /// The graph was walked through all rows, keeping those that pass the filter.
    FilteredGraph,
    /// The walk met too few passing rows for its budget, and a scan of the passing rows replaced it; the answer is exact.
    GraphThenScan,
}

impl Plan {
    /// A stable name, for metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::FilteredScan => "filtered_scan",
            Self::Graph => "graph",
            Self::FilteredGraph => "filtered_graph",
            Self::GraphThenScan => "graph_then_scan",
        }
    }
}

/// How a search is to be carried out; the default leaves everything to the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchParams {
    /// How many candidates a walk through a graph keeps (at least `k`): more finds more of the true neighbours, and takes longer. `None`: the
    /// index's own choice. At most [`MAX_EF`].
    pub ef: Option<usize>,
    /// Score every row that passes: slow, and exact.
    pub exact: bool,
}

/// Rows with a vector each, searched by inner product.
///
/// Searches may run from any number of threads while rows change. Each search sees one state: everything whose `upsert` or `delete` returned
/// before it began, and of a concurrent change either all or nothing.
pub trait VectorIndex: Send + Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// Rows with a vector.
    fn len(&self) -> usize;

    /// Whether no row has a vector.
    fn is_empty(&self) -> bool;

    /// The `k` rows of largest inner product with `query`, among the members of `filter` where one is given.
    ///
    /// # Errors
    /// A query of another dimension or with components that are not finite; `k` or `ef` out of range.
    fn search(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&Bitmap>,
        params: &SearchParams,
    ) -> Result<Hits, IndexError>;

    /// Sets the vector of `row`; the next search finds it.
    ///
    /// # Errors
    /// A vector of another dimension or with components that are not finite; a row at or past [`MAX_ROWS`]; no memory left.
    fn upsert(&self, row: u32, vector: &[f32]) -> Result<(), IndexError>;

    /// Takes the vector of `row` away; the next search does not find it. Whether there was one.
    ///
    /// # Errors
    /// When there is no memory left.
    fn delete(&self, row: u32) -> Result<bool, IndexError>;

    /// The vector of `row`, as it was given.
    fn vector(&self, row: u32) -> Option<Vec<f32>>;

    /// Writes the index to `path`, replacing what is there only when complete. The rows become the positions a load may map.
    ///
    /// # Errors
    /// When writing fails.
    fn save(&self, path: &Path) -> Result<(), IndexError>;
}

/// Checks a vector that came from outside.
fn check_vector(vector: &[f32], dim: usize, what: &'static str) -> Result<(), IndexError> {
    if vector.len() != dim {
        return Err(IndexError::Dimension { what, expected: dim, found: vector.len() });
    }
    match vector.iter().position(|x| x.is_nan() || x.abs() > MAX_COMPONENT) {
        Some(component) => Err(IndexError::Component { what, component, value: vector[component] }),
        None => Ok(()),
    }
}

/// Checks a number that came from outside.
fn check_range(name: &'static str, value: usize, min: usize, max: usize) -> Result<(), IndexError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(IndexError::OutOfRange { name, value, min, max }) }
}
