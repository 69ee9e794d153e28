//! A fixed number of neighbouring rows. A chunk never changes: a change makes another one, which shares every column that
//! stays the same.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};

/// Rows of a full chunk; every chunk but the last is full.
pub(super) const CHUNK_ROWS: usize = 1024;
/// Words of a chunk's part of a bitmap.
pub(super) const CHUNK_WORDS: usize = CHUNK_ROWS / 64;

/// The chunk of a row and the row's place in it.
pub(super) fn place(row: u32) -> (usize, usize) {
    (row as usize / CHUNK_ROWS, row as usize % CHUNK_ROWS)
}

pub(super) struct Chunk {
    /// Unlike that of any other chunk of the catalog, past or present.
    pub(super) version: u64,
    pub(super) ids: Arc<Vec<Arc<str>>>,
    /// Microseconds, one for each row.
    pub(super) first_seen: Arc<Vec<i64>>,
    /// One bit for each row.
    pub(super) alive: [u64; CHUNK_WORDS],
    /// In the order of the attributes.
    pub(super) columns: Box<[ArrayRef]>,
}

impl Chunk {
    pub(super) fn rows(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_alive(&self, offset: usize) -> bool {
        self.alive.get(offset / 64).is_some_and(|word| word >> (offset % 64) & 1 == 1)
    }

    /// Bytes of its buffers, without the ids.
    pub(super) fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.get_array_memory_size()).sum();
        columns + self.first_seen.capacity() * 8 + size_of::<Self>()
    }
}
