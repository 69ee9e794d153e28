//! Filters over all rows, kept between requests: what a filter gave is stored with the version of each chunk, and only
//! chunks with another version are evaluated again.

use std::sync::Arc;

use arrow_array::ArrayRef;
use moka::sync::Cache;
use tastemaker_expr::{Column, Columns, Expr};

use super::CatalogError;
use super::chunk::{CHUNK_WORDS, Chunk};
use super::snapshot::{CatalogSnapshot, Shared};
use crate::Bitmap;

/// The most memory that kept filters take, in bytes: 500 filters over a million rows.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What one filter gave for one snapshot.
struct Evaluated {
    snapshot_version: u64,
    chunk_versions: Box<[u64]>,
    bitmap: Arc<Bitmap>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterCacheStats {
    /// Filters kept.
    pub filters: u64,
    /// Their memory.
    pub bytes: u64,
}

pub(super) struct FilterCache {
    kept: Cache<Arc<str>, Arc<Evaluated>>,
}

impl FilterCache {
    pub(super) fn new() -> Self {
        let weight = |key: &Arc<str>, filter: &Arc<Evaluated>| {
            let bytes = key.len() + filter.bitmap.words().len() * 8 + filter.chunk_versions.len() * 8 + 128;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().weigher(weight).max_capacity(MAX_BYTES).build() }
    }

    pub(super) fn stats(&self) -> FilterCacheStats {
        FilterCacheStats { filters: self.kept.entry_count(), bytes: self.kept.weighted_size() }
    }

    /// The live rows of `snapshot` for which `filter` is true.
    pub(super) fn bitmap(&self, snapshot: &CatalogSnapshot, filter: &Expr) -> Result<Arc<Bitmap>, CatalogError> {
        let known = self.kept.get(filter.cache_key());
        if let Some(known) = known.as_deref().filter(|known| known.snapshot_version == snapshot.version()) {
            return Ok(Arc::clone(&known.bitmap));
        }
        snapshot.shared().columns_of(filter)?;
        let mut words = Vec::with_capacity(snapshot.chunks().len() * CHUNK_WORDS);
        for (index, chunk) in snapshot.chunks().iter().enumerate() {
            let from = index * CHUNK_WORDS;
            let kept = known.as_deref().filter(|known| known.chunk_versions.get(index) == Some(&chunk.version));
            match kept.and_then(|known| {
                let words = known.bitmap.words();
                words.get(from..words.len().min(from + CHUNK_WORDS))
            }) {
                Some(same) => words.extend_from_slice(same),
                None => evaluate(snapshot.shared(), chunk, filter, &mut words)?,
            }
            words.resize(from + CHUNK_WORDS, 0);
        }
        let bitmap = Arc::new(Bitmap::from_words(words, snapshot.len()));
        // A request that still holds an older snapshot does not push out what newer ones will ask for.
        if known.is_none_or(|known| known.snapshot_version < snapshot.version()) {
            let evaluated = Evaluated {
                snapshot_version: snapshot.version(),
                chunk_versions: snapshot.chunks().iter().map(|chunk| chunk.version).collect(),
                bitmap: Arc::clone(&bitmap),
            };
            self.kept.insert(filter.cache_key().into(), Arc::new(evaluated));
        }
        Ok(bitmap)
    }
}

/// Appends one bit for each row of `chunk`.
fn evaluate(shared: &Shared, chunk: &Chunk, filter: &Expr, words: &mut Vec<u64>) -> Result<(), CatalogError> {
    let truth = filter.filter(&ChunkColumns { shared, chunk })?;
    let bits = truth.values().bit_chunks();
    words.extend(bits.iter_padded().zip(&chunk.alive).map(|(truth, alive)| truth & alive));
    Ok(())
}

/// A chunk as an expression sees it.
struct ChunkColumns<'a> {
    shared: &'a Shared,
    chunk: &'a Chunk,
}

impl Columns for ChunkColumns<'_> {
    fn rows(&self) -> usize {
        self.chunk.rows()
    }

    fn column(&self, column: &Column) -> Option<&ArrayRef> {
        self.chunk.columns.get(self.shared.column_of(column)?)
    }
}
