//! The item catalog: ids, attributes and times of first sight of all items, in memory, as Arrow arrays. Rows stand in
//! immutable chunks; a change rewrites the columns it touches of the chunks it touches and publishes a new
//! [`CatalogSnapshot`], so that readers never wait and never see half a change. Durability is the event log's: a catalog is
//! rebuilt by applying the log's records in order.
//!
//! A row is a dense number that belongs to one id for the life of the process: a deleted item leaves its row dead, and
//! gets it back if it returns.

mod cell;
mod change;
mod chunk;
mod column;
mod dictionary;
mod filter;
mod gather;
mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tastemaker_expr::{EvalError, Schema};
use tastemaker_types::{AttributeSchema, Timestamp};

pub use change::{Applied, ItemChange};
pub use filter::FilterCacheStats;
pub use snapshot::CatalogSnapshot;

use change::Changes;
use snapshot::Shared;

/// Why the catalog cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// An expression reads something that is not an attribute of items.
    #[error("'{name}' is not an attribute of items, so the filter cannot be answered from the catalog")]
    NotAnAttribute {
        /// As the expression names it.
        name: String,
    },
    /// An expression failed over a chunk.
    #[error("a filter could not be evaluated: {0}")]
    Filter(#[from] EvalError),
}

/// Changes applied at once to an intermediate state; bounds the memory of a bulk load.
const SLICE: usize = 64 * 1024;

/// The one place where items change.
pub struct Catalog {
    shared: Arc<Shared>,
    current: ArcSwap<CatalogSnapshot>,
    /// Held while changing; the version that the next changed chunk gets.
    writer: Mutex<u64>,
}

impl Catalog {
    /// An empty catalog of items with these attributes.
    pub fn new(attributes: AttributeSchema) -> Self {
        Self::with_capacity(attributes, 0)
    }

    /// An empty catalog that takes so many items without growing.
    pub fn with_capacity(attributes: AttributeSchema, items: usize) -> Self {
        let shared = Arc::new(Shared::new(attributes, items));
        let current = ArcSwap::from_pointee(CatalogSnapshot::empty(Arc::clone(&shared)));
        Self { shared, current, writer: Mutex::new(1) }
    }

    /// The catalog as it is now; it stays so.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.current.load_full()
    }

    /// The declared attributes of items.
    pub fn attributes(&self) -> &AttributeSchema {
        &self.shared.attributes
    }

    /// What expressions over items are compiled against: the attributes, by their names or as `item.name`.
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// Applies changes in order and publishes them together. Callers take turns.
    pub fn apply(&self, changes: &[ItemChange<'_>]) -> Applied {
        let mut next_version = self.writer.lock();
        let before = self.current.load_full();
        let mut chunks = before.chunks().to_vec();
        let mut applied = Applied { rows: Vec::with_capacity(changes.len()), misfits: 0, first_misfit: None };
        let mut changed = false;
        for slice in changes.chunks(SLICE) {
            let slice = Changes::resolve(slice, &self.shared, &chunks, &mut applied);
            changed |= slice.write(&self.shared, &mut chunks, &mut next_version);
        }
        if changed {
            let snapshot = CatalogSnapshot::new(Arc::clone(&self.shared), chunks, *next_version);
            *next_version += 1;
            self.current.store(Arc::new(snapshot));
        }
        applied
    }

    /// The row of an item that was seen at `timestamp`, making it exist if need be.
    pub fn intern(&self, id: &str, timestamp: Timestamp) -> Option<u32> {
        self.apply(&[ItemChange::Seen { id, timestamp }]).rows.first().copied().flatten()
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Catalog({:?})", self.current.load())
    }
}
