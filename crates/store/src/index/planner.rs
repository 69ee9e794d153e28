//! The index that serves: for each search it estimates what a walk and what a scan would cost, and takes the cheaper one.

use std::path::Path;

use super::{
    BuildOptions, Hits, HnswIndex, IndexError, Plan, SearchParams, VectorIndex,
    flat::{check_search, scan},
    graph::Graph,
    hnsw::{candidates, walk},
    live::{Snapshot, reads_in_order},
    vectors::Query,
};
use crate::Bitmap;

/// What scoring one vector costs, in nanoseconds on a 2.4 GHz Zen 3 at a million vectors of 64 components; only the ratios matter.
mod nanoseconds {
    /// In a walk: a neighbour anywhere in memory, and keeping the candidates in order.
    pub(super) const WALKED: f64 = 75.0;
    /// In a scan of rows looked up one by one.
    pub(super) const PICKED: f64 = 24.0;
    /// In a scan in memory order, whether the vector passes the filter or not.
    pub(super) const TESTED: f64 = 14.0;
    /// In a scan of everything.
    pub(super) const PASSED: f64 = 7.0;
}

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

/// What a search is expected to cost, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Costs {
    walk: f64,
    scan: f64,
}

impl Costs {
    /// Of a search that keeps `ef` candidates among `nodes` vectors, of which `passing` pass its filter.
    fn estimate(nodes: usize, passing: Option<usize>, ef: usize) -> Self {
        let scan = match passing {
            None => nodes as f64 * nanoseconds::PASSED,
            Some(passing) if reads_in_order(nodes, passing) => nodes as f64 * nanoseconds::TESTED,
            Some(passing) => passing as f64 * nanoseconds::PICKED,
        };
        // To keep `ef` that pass, a walk has to meet `ef / share` candidates.
        let share = passing.map_or(1.0, |passing| passing.max(1) as f64 / nodes.max(1) as f64);
        Self { walk: walked(ef as f64 / share).min(nodes as f64) * nanoseconds::WALKED, scan }
    }
}

/// Vectors a walk scores to meet so many candidates: a power law fitted to walks of 50 to 10 000 candidates, with and without filters, within 25 %.
fn walked(candidates: f64) -> f64 {
    50.0 * candidates.powf(0.77)
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
    let ef = candidates(snapshot, k, params);
    let costs = Costs::estimate(nodes, filter.map(|filter| filter.count().min(nodes)), ef);
    if params.exact || costs.scan <= costs.walk {
        return scan(snapshot, query, k, filter);
    }
    // Where the filter passes little of what is near the query, a walk meets few that pass. It is given up when it has cost as much as the scan that
    // then answers, so that no search costs more than twice the cheaper way.
    let budget = (costs.scan / nanoseconds::WALKED) as usize;
    walk(snapshot, query, k, filter, ef, budget)
        .unwrap_or_else(|| Hits { plan: Plan::GraphThenScan, ..scan(snapshot, query, k, filter) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_passing_rows_are_scanned_and_many_are_walked_to() {
        let walks = |passing: Option<usize>, ef| {
            let costs = Costs::estimate(1_000_000, passing, ef);
            costs.walk < costs.scan
        };
        assert!(walks(None, 100) && walks(None, 500));
        assert!(walks(Some(900_000), 500) && walks(Some(500_000), 500) && walks(Some(200_000), 500));
        assert!(!walks(Some(50_000), 500), "more candidates are kept than a walk finds cheaply among so few");
        assert!(walks(Some(50_000), 50) && !walks(Some(10_000), 50));
        assert!(!walks(Some(0), 10) && !walks(Some(500), 10));
    }

    #[test]
    fn small_indexes_are_scanned() {
        assert!([None, Some(4000), Some(10)].into_iter().all(|passing| {
            let costs = Costs::estimate(5000, passing, 100);
            costs.scan <= costs.walk
        }));
        let nothing = Costs::estimate(0, None, 100);
        assert!(nothing.scan <= nothing.walk);
    }
}
