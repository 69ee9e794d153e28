//! A block of vectors: quantised codes to search by, exact floats to score by, and the row each answers for. Immutable for readers; the index
//! is made of one large block and a few small ones.

use std::io;

use super::{IndexError, MAX_ROWS, NO_ROW, codes::Codes, codes::QueryCodes, kernel, memory::Floats};

/// Vectors by their place in the block, called node (of the graph, where there is one).
pub(crate) struct Vectors {
    pub(crate) dim: usize,
    pub(crate) codes: Codes,
    pub(crate) floats: Floats,
    /// The row of each node; [`NO_ROW`] where the node is never to be returned.
    pub(crate) rows: Vec<u32>,
}

impl Vectors {
    /// Quantises `floats`, row-major vectors of `dim` components that were checked before; node `i` answers for `rows[i]`.
    pub(crate) fn new(dim: usize, floats: Vec<f32>, rows: Vec<u32>) -> io::Result<Self> {
        let mut codes = Codes::zeroed(dim, rows.len())?;
        for (node, vector) in floats.chunks_exact(dim).enumerate() {
            codes.set(node, vector);
        }
        Ok(Self { dim, codes, floats: Floats::Owned(floats), rows })
    }

    /// Nodes, with and without rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    pub(crate) fn row(&self, node: u32) -> u32 {
        self.rows.get(node as usize).copied().unwrap_or(NO_ROW)
    }

    /// The exact vector of `node` (empty past the end).
    #[inline]
    pub(crate) fn vector(&self, node: u32) -> &[f32] {
        let start = node as usize * self.dim;
        self.floats.as_slice().get(start..start + self.dim).unwrap_or_default()
    }
}

/// A query, exact and quantised.
pub(crate) struct Query<'a> {
    pub(crate) floats: &'a [f32],
    pub(crate) codes: QueryCodes,
}

impl<'a> Query<'a> {
    pub(crate) fn new(floats: &'a [f32]) -> Self {
        Self { floats, codes: QueryCodes::new(floats) }
    }

    /// The exact inner product with `node`.
    #[inline]
    pub(crate) fn score(&self, vectors: &Vectors, node: u32) -> f32 {
        kernel::dot(self.floats, vectors.vector(node))
    }
}

/// From rows back to nodes; rows are dense, so a plain table.
pub(crate) struct RowTable {
    nodes: Vec<u32>,
}

impl RowTable {
    /// Where each of `rows` is, leaving out [`NO_ROW`].
    ///
    /// # Errors
    /// A row at or past [`MAX_ROWS`], or twice.
    pub(crate) fn new(rows: &[u32]) -> Result<Self, IndexError> {
        let len = rows.iter().filter(|&&row| row != NO_ROW).max().map_or(0, |&row| row as usize + 1);
        super::check_range("row", len.saturating_sub(1), 0, MAX_ROWS as usize - 1)?;
        let mut nodes = vec![NO_ROW; len];
        for (node, &row) in rows.iter().enumerate() {
            if let Some(place) = nodes.get_mut(row as usize) {
                if *place != NO_ROW {
                    return Err(IndexError::DuplicateRow { row });
                }
                *place = node as u32;
            }
        }
        Ok(Self { nodes })
    }

    #[inline]
    pub(crate) fn node(&self, row: u32) -> Option<u32> {
        self.nodes.get(row as usize).copied().filter(|&node| node != NO_ROW)
    }
}
