//! The exact index, and what all kinds of index check and share.

use std::path::Path;

use super::{
    Hits, IndexError, MAX_DIM, MAX_EF, MAX_K, MAX_ROWS, Plan, SearchParams, VectorIndex, check_range, check_vector,
    live::{Base, Live, Snapshot},
    scan::Best,
    storage,
    vectors::{Query, RowTable, Vectors},
};
use crate::Bitmap;

/// An index that scores every passing vector: exact, with nothing to build. Time grows with the number of passing rows: about a millisecond
/// for 200 thousand vectors of 64 components.
pub struct FlatIndex {
    live: Live<()>,
}

impl FlatIndex {
    /// An index of `vectors`, row-major, `dim` components each. The vector at position `i` answers for `rows[i]`, never if that is
    /// [`NO_ROW`](super::NO_ROW), or for row `i` without `rows`.
    ///
    /// # Errors
    /// Values that are not finite or not whole vectors; rows that repeat or are too few.
    pub fn build(dim: usize, vectors: Vec<f32>, rows: Option<Vec<u32>>) -> Result<Self, IndexError> {
        let len = check_values(dim, &vectors)?;
        let rows = storage::map_rows((0..len as u32).collect(), rows.as_deref())?;
        let vectors = Vectors::new(dim, vectors, rows)?;
        Ok(Self { live: Live::new(Base { table: RowTable::new(&vectors.rows)?, vectors, graph: () }) })
    }

    /// Loads what [`save`](VectorIndex::save) wrote, of whatever kind of index. The vector at position `p` answers for `rows[p]`, never if
    /// that is [`NO_ROW`](super::NO_ROW); without `rows` for row `p`.
    ///
    /// # Errors
    /// A file that is damaged or of another format; a map that is too short or repeats a row.
    pub fn load(path: &Path, rows: Option<Vec<u32>>) -> Result<Self, IndexError> {
        let (vectors, ()) = storage::load(path, rows.as_deref(), |_| Ok(()))?;
        Ok(Self { live: Live::new(Base { table: RowTable::new(&vectors.rows)?, vectors, graph: () }) })
    }
}

impl VectorIndex for FlatIndex {
    fn dim(&self) -> usize {
        self.live.dim()
    }

    fn len(&self) -> usize {
        self.live.snapshot().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&Bitmap>,
        params: &SearchParams,
    ) -> Result<Hits, IndexError> {
        check_search(self.dim(), query, k, params)?;
        Ok(scan(&self.live.snapshot(), &Query::new(query), k, filter))
    }

    fn upsert(&self, row: u32, vector: &[f32]) -> Result<(), IndexError> {
        self.live.upsert(row, vector)
    }

    fn delete(&self, row: u32) -> Result<bool, IndexError> {
        self.live.delete(row)
    }

    fn vector(&self, row: u32) -> Option<Vec<f32>> {
        self.live.snapshot().vector(row).map(<[f32]>::to_vec)
    }

    fn save(&self, path: &Path) -> Result<(), IndexError> {
        let snapshot = self.live.snapshot();
        if snapshot.is_unchanged() {
            storage::save(path, &snapshot.base.vectors, &[])
        } else {
            let (floats, rows) = snapshot.collect();
            storage::save(path, &Vectors::new(self.dim(), floats, rows)?, &[])
        }
    }
}

/// The exact search of a snapshot.
pub(crate) fn scan<G>(snapshot: &Snapshot<G>, query: &Query<'_>, k: usize, filter: Option<&Bitmap>) -> Hits {
    let mut best = Best::new(k);
    snapshot.scan_base(query, filter, &mut best);
    snapshot.delta.scan(query, filter, &mut best);
    let plan = if filter.is_some() { Plan::FilteredScan } else { Plan::Scan };
    let scored = best.scored;
    Hits { hits: best.finish(), plan, scored }
}

/// Checks what a search was asked for.
pub(crate) fn check_search(dim: usize, query: &[f32], k: usize, params: &SearchParams) -> Result<(), IndexError> {
    check_range("k", k, 1, MAX_K)?;
    check_range("ef", params.ef.unwrap_or(1), 1, MAX_EF)?;
    check_vector(query, dim, "the query")
}

/// Checks vectors that came from outside; returns how many they are.
pub(crate) fn check_values(dim: usize, vectors: &[f32]) -> Result<usize, IndexError> {
    check_range("the dimension", dim, 1, MAX_DIM)?;
    if !vectors.len().is_multiple_of(dim) {
        return Err(IndexError::Shape { values: vectors.len(), dim });
    }
    check_range("the number of vectors", vectors.len() / dim, 0, MAX_ROWS as usize)?;
    for vector in vectors.chunks_exact(dim) {
        check_vector(vector, dim, "a vector")?;
    }
    Ok(vectors.len() / dim)
}
