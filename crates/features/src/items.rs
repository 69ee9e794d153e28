//! The features of all items, by row of the catalog, in shards that are locked one at a time. One writer, any number of readers.

use parking_lot::RwLock;

use crate::entity::EntityFeatures;

const SHARDS: usize = 64;

/// Items that nothing is remembered of take 8 bytes up to the last row that something is.
pub(crate) struct ItemTable {
    shards: Vec<RwLock<Vec<Option<Box<EntityFeatures>>>>>,
}

impl ItemTable {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    pub(crate) fn change(&self, row: u32, change: impl FnOnce(&mut EntityFeatures)) {
        let (shard, place) = (row as usize % SHARDS, row as usize / SHARDS);
        let Some(mut shard) = self.shards.get(shard).map(RwLock::write) else { return };
        if shard.len() <= place {
            shard.resize_with(place + 1, || None);
        }
        if let Some(features) = shard.get_mut(place) {
            change(features.get_or_insert_default());
        }
    }

    /// What `read` makes of the item's features, if anything is known.
    pub(crate) fn read<T>(&self, row: u32, read: impl FnOnce(Option<&EntityFeatures>) -> T) -> T {
        let shard = self.shards.get(row as usize % SHARDS).map(RwLock::read);
        read(shard.as_ref().and_then(|shard| shard.get(row as usize / SHARDS)?.as_deref()))
    }
}
