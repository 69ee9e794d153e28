//! The graph index: approximate, and fast over all rows whatever their number. It always walks its graph; which searches a scan serves better is
//! the planner's knowledge.

use std::path::Path;

use super::{
    BuildOptions, Hits, IndexError, Plan, SearchParams, VectorIndex, build,
    flat::{check_search, check_values, scan},
    graph::{Graph, with_scratch},
    live::{Base, Live, Snapshot},
    order,
    scan::Best,
    storage,
    vectors::{Query, RowTable, Vectors},
};
use crate::Bitmap;

/// An index that walks a graph from neighbour to neighbour, scoring a few thousand vectors of millions. Changes go to a part that is scanned,
/// until a [rebuild](Self::rebuild) merges them.
pub struct HnswIndex {
    pub(super) live: Live<Graph>,
    options: BuildOptions,
}

impl HnswIndex {
    /// Builds the index of `vectors`, row-major, `dim` components each, on [`BuildOptions::threads`] threads. The vector at position `i` answers for
    /// `rows[i]`, never if that is [`NO_ROW`](super::NO_ROW), or for row `i` without `rows`.
    ///
    /// # Errors
    /// Values that are not finite or not whole vectors; rows that repeat or are too few; options out of range.
    pub fn build(
        dim: usize,
        vectors: Vec<f32>,
        rows: Option<Vec<u32>>,
        options: &BuildOptions,
    ) -> Result<Self, IndexError> {
        let len = check_values(dim, &vectors)?;
        let rows = storage::map_rows((0..len as u32).collect(), rows.as_deref())?;
        Ok(Self { live: Live::new(build_base(dim, vectors, rows, options)?), options: *options })
    }

    /// Loads what [`save`](VectorIndex::save) wrote. The vector at position `p` answers for `rows[p]`, never if that is
    /// [`NO_ROW`](super::NO_ROW); without `rows` for row `p`.
    ///
    /// # Errors
    /// A file that is damaged, of another format or without a graph; a map that is too short or repeats a row.
    pub fn load(path: &Path, rows: Option<Vec<u32>>) -> Result<Self, IndexError> {
        let (vectors, graph) = storage::load(path, rows.as_deref(), Graph::read)?;
        let options = BuildOptions { ef: graph.ef, ..BuildOptions::default() };
        Ok(Self { live: Live::new(Base { table: RowTable::new(&vectors.rows)?, vectors, graph }), options })
    }

    /// Rows changed since the graph was built: what every search scans besides walking it.
    pub fn pending(&self) -> usize {
        self.live.snapshot().changed
    }

    /// Whether enough rows changed that a [rebuild](Self::rebuild) pays: the pending ones cost every search about as much as the walk itself, or the
    /// deleted ones lengthen the walk by a fifth.
    pub fn wants_rebuild(&self) -> bool {
        let snapshot = self.live.snapshot();
        snapshot.changed > PENDING || snapshot.dead.count() > (snapshot.base.vectors.len() / 5).max(PENDING)
    }

    /// Builds the graph anew from the current rows, and makes it the one searched. Takes as long as a build; searches and changes go on meanwhile,
    /// changes made in that time staying pending. Whether it ran: not while another rebuild does.
    ///
    /// # Errors
    /// When there is no memory left; the index is then as before.
    pub fn rebuild(&self) -> Result<bool, IndexError> {
        self.live.rebuild(|snapshot| self.build_anew(snapshot))
    }

    fn build_anew(&self, snapshot: &Snapshot<Graph>) -> Result<Base<Graph>, IndexError> {
        let (floats, rows) = snapshot.collect();
        build_base(self.live.dim(), floats, rows, &self.options)
    }
}

/// Pending changes above which a rebuild pays.
const PENDING: usize = 10_000;

impl VectorIndex for HnswIndex {
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
        let (snapshot, query) = (self.live.snapshot(), Query::new(query));
        if params.exact {
            return Ok(scan(&snapshot, &query, k, filter));
        }
        let ef = candidates(&snapshot, k, params);
        Ok(walk(&snapshot, &query, k, filter, ef, usize::MAX).unwrap_or_else(|| scan(&snapshot, &query, k, filter)))
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
        let built;
        let base = if snapshot.is_unchanged() {
            &snapshot.base
        } else {
            built = self.build_anew(&snapshot)?;
            &built
        };
        storage::save(path, &base.vectors, &base.graph.sections(&mut Vec::new()))
    }
}

/// How many candidates a walk keeps.
pub(crate) fn candidates(snapshot: &Snapshot<Graph>, k: usize, params: &SearchParams) -> usize {
    params.ef.unwrap_or(snapshot.base.graph.ef).max(k)
}

/// The search of a snapshot by its graph; `None` when more than `budget` vectors were scored before it came to an end.
pub(crate) fn walk(
    snapshot: &Snapshot<Graph>,
    query: &Query<'_>,
    k: usize,
    filter: Option<&Bitmap>,
    ef: usize,
    budget: usize,
) -> Option<Hits> {
    let (vectors, graph) = (&snapshot.base.vectors, &snapshot.base.graph);
    with_scratch(|scratch| {
        let mut best = Best::new(k);
        match filter {
            None if snapshot.dead.is_empty() => graph.search(vectors, query, ef, scratch),
            None => {
                let passes = |node| !snapshot.dead.contains(node);
                if !graph.search_filtered(vectors, query, ef, budget, scratch, passes) {
                    return None;
                }
            }
            Some(filter) => {
                let passes = |node| filter.contains(vectors.row(node)) && !snapshot.dead.contains(node);
                if !graph.search_filtered(vectors, query, ef, budget, scratch, passes) {
                    return None;
                }
            }
        }
        best.scored += scratch.scored();
        best.offer_scored(vectors, query, scratch.pool.iter().map(|entry| (entry.node(), entry.score())));
        snapshot.delta.scan(query, filter, &mut best);
        let plan = if filter.is_some() { Plan::FilteredGraph } else { Plan::Graph };
        let scored = best.scored;
        Some(Hits { hits: best.finish(), plan, scored })
    })
}

/// Numbers, quantises and links vectors that were checked before.
fn build_base(dim: usize, floats: Vec<f32>, rows: Vec<u32>, options: &BuildOptions) -> Result<Base<Graph>, IndexError> {
    options.check()?;
    let mut rng = order::rng(options.seed);
    let upper = options.upper_levels(rows.len()).first().copied().unwrap_or(1).min(rows.len());
    let numbering = order::number(&floats, dim, upper, &mut rng);
    let floats = order::rearrange(floats, dim, &numbering);
    let rows = numbering.iter().filter_map(|&position| rows.get(position as usize).copied()).collect();
    let vectors = Vectors::new(dim, floats, rows)?;
    let graph = build::build(&vectors, &order::insertion(vectors.len(), upper, &mut rng), options)?;
    Ok(Base { table: RowTable::new(&vectors.rows)?, vectors, graph })
}
