//! The index that serves: for each search it estimates what a walk and what a scan would cost, and takes the cheaper one.

use std::path::Path;

use super::{
    BuildOptions, Hits, HnswIndex, IndexError, Plan, SearchParams, VectorIndex,
    flat::{check_search, scan},
    graph::Graph,
    hnsw::{candidates, walk},
    live::Snapshot,
    vectors::Query,
};
use crate::Bitmap;

/// Vectors a walk scores for each candidate it keeps, as measured; it keeps `ef / selectivity` when only some of those it meets pass.
const SCORED_PER_CANDIDATE: f64 = 14.0;
/// What scoring one vector costs in a walk, in a scan of picked rows, and in a scan of all, relative to each other, as measured.
const WALK_COST: f64 = 3.0;
const PICK_COST: f64 = 1.5;
const PASS_COST: f64 = 1.0;

/// The graph index with a planner. See [`HnswIndex`] for what its methods do.
pub struct PlannedIndex {
    index: HnswIndex,
}

impl PlannedIndex {
    /// See [`HnswIndex::build`].
    ///
    /// # Errors
    /// As there.
    pub fn build(
        dim: usize,
        vectors: Vec<f32>,
        rows: Option<Vec<u32>>,
        options: &BuildOptions,
    ) -> Result<Self, IndexError> {
        Ok(Self { index: HnswIndex::build(dim, vectors, rows, options)? })
    }

    /// See [`HnswIndex::load`].
    ///
    /// # Errors
    /// As there.
    pub fn load(path: &Path, rows: Option<Vec<u32>>) -> Result<Self, IndexError> {
        Ok(Self { index: HnswIndex::load(path, rows)? })
    }

    /// See [`HnswIndex::pending`].
    pub fn pending(&self) -> usize {
        self.index.pending()
    }

    /// See [`HnswIndex::wants_rebuild`].
    pub fn wants_rebuild(&self) -> bool {
        self.index.wants_rebuild()
    }

    /// See [`HnswIndex::rebuild`].
    ///
    /// # Errors
    /// As there.
    pub fn rebuild(&self) -> Result<bool, IndexError> {
        self.index.rebuild()
    }
}

/// What a search is expected to cost, in vectors scanned in order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Costs {
    walk: f64,
    scan: f64,
}

impl Costs {
    /// Of a search that keeps `ef` candidates among `nodes` vectors of which `passing` pass.
    fn estimate(nodes: usize, passing: usize, ef: usize) -> Self {
        let (nodes, passing) = (nodes as f64, (passing as f64).max(1.0));
        let met = (ef as f64 * nodes / passing).min(nodes) * SCORED_PER_CANDIDATE;
        Self { walk: met.min(nodes) * WALK_COST, scan: (passing * PICK_COST).min(nodes * PASS_COST) }
    }
}

impl VectorIndex for PlannedIndex {
    fn dim(&self) -> usize {
        self.index.dim()
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&Bitmap>,
        params: &SearchParams,
    ) -> Result<Hits, IndexError> {
        check_search(self.dim(), query, k, params)?;
        Ok(search(&self.index.live.snapshot(), &Query::new(query), k, filter, params))
    }

    fn upsert(&self, row: u32, vector: &[f32]) -> Result<(), IndexError> {
        self.index.upsert(row, vector)
    }

    fn delete(&self, row: u32) -> Result<bool, IndexError> {
        self.index.delete(row)
    }

    fn vector(&self, row: u32) -> Option<Vec<f32>> {
        self.index.vector(row)
    }

    fn save(&self, path: &Path) -> Result<(), IndexError> {
        self.index.save(path)
    }
}

fn search(
    snapshot: &Snapshot<Graph>,
    query: &Query<'_>,
    k: usize,
    filter: Option<&Bitmap>,
    params: &SearchParams,
) -> Hits {
    let nodes = snapshot.base.vectors.len();
    let passing = filter.map_or(nodes - snapshot.dead.count(), Bitmap::count).min(nodes);
    let ef = candidates(snapshot, k, params);
    let costs = Costs::estimate(nodes, passing, ef);
    if params.exact || costs.scan <= costs.walk {
        return scan(snapshot, query, k, filter);
    }
    // Where the filter passes little of what is near the query, the walk is given up once it has cost what the scan will.
    let budget = (costs.scan.max(2.0 * costs.walk) / WALK_COST) as usize;
    walk(snapshot, query, k, filter, ef, budget)
        .unwrap_or_else(|| Hits { plan: Plan::GraphThenScan, ..scan(snapshot, query, k, filter) })
}
