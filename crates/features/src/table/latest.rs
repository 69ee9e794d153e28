//! The newest row of each entity, for the online store, in chunks of entities that fit in memory.

use hashbrown::HashTable;
use parking_lot::Mutex;
use tastemaker_types::Timestamp;

use super::TableError;
use super::keys::OwnedKey;
use super::open::Table;
use super::read::TableBatches;
use super::version::Version;

/// The rows of the table for each chunk that is suggested. If all are of different entities, a chunk holds about 100 bytes of each.
const CHUNK_ROWS: u64 = 4_000_000;
/// Maps that fill up side by side.
const SHARDS: usize = 64;

/// Which rows count as the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestOptions {
    /// Into how many chunks entities are divided, by a hash of their key that never changes; at least 1. Every chunk reads the keys and
    /// times of the whole table. Keep this number with the number of the last finished chunk to resume.
    pub chunks: u32,
    /// Only entities whose newest row has an event or created time at or after this, such as the latest that the last run saw: more rows of
    /// that time may have come since. A row that comes late into a table without created times is not seen by this.
    pub since: Option<Timestamp>,
    /// The newest as of this time: rows with a later event or created time are left out.
    pub as_of: Option<Timestamp>,
}

impl Default for LatestOptions {
    fn default() -> Self {
        Self { chunks: 1, since: None, as_of: None }
    }
}

struct Newest {
    hash: u64,
    key: OwnedKey,
    version: Version,
}

impl Table {
    /// A number of chunks that bounds the memory of each to some 400 MB.
    pub fn suggested_chunks(&self) -> u32 {
        u32::try_from(self.rows().div_ceil(CHUNK_ROWS).max(1)).unwrap_or(u32::MAX)
    }

    /// The newest row of each entity in one chunk, by event time, then created time, then place in the table: what a
    /// [`join`](super::join()) at `as_of` without a ttl finds. Rows come in the order of the table.
    ///
    /// # Errors
    /// [`TableError::Chunk`], and anything that keeps the table from being read.
    pub fn latest(&self, chunk: u32, options: &LatestOptions) -> Result<TableBatches<'_>, TableError> {
        let LatestOptions { chunks, since, as_of } = *options;
        if chunk >= chunks {
            return Err(TableError::Chunk { chunk, chunks });
        }
        let shards: Vec<Mutex<HashTable<Newest>>> = (0..SHARDS).map(|_| Mutex::default()).collect();
        let refused = self.scan(|batch| {
            for (row, version) in batch.versions() {
                let Some(key) = batch.keys.get(row) else { continue };
                let hash = key.hash();
                if chunk_of(hash, chunks) != chunk || as_of.is_some_and(|as_of| version.known() > as_of.as_micros()) {
                    continue;
                }
                let Some(shard) = shards.get((hash >> 32) as usize % SHARDS) else { continue };
                let mut newest = shard.lock();
                match newest.find_mut(hash, |newest| newest.key.get() == key) {
                    Some(newest) => newest.version = newest.version.max(version),
                    None => {
                        let new = Newest { hash, key: key.into(), version };
                        newest.insert_unique(hash, new, |newest| newest.hash);
                    }
                }
            }
            Ok(())
        })?;
        let newest = shards.into_iter().flat_map(Mutex::into_inner).map(|newest| newest.version);
        let is_new = |version: &Version| since.is_none_or(|since| version.known() >= since.as_micros());
        let mut rows: Vec<u64> = newest.filter(is_new).map(|version| version.row).collect();
        rows.sort_unstable();
        Ok(self.batches_of(Some(rows), refused))
    }
}

/// Spread over the chunks by a multiplication (Fibonacci hashing), because shards and maps use the bits of the hash as they are.
fn chunk_of(hash: u64, chunks: u32) -> u32 {
    let spread = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    ((spread * u64::from(chunks)) >> 32) as u32
}
