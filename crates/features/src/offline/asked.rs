//! The entities of one kind that rows ask about, and at which times.

use std::ops::Range;

use hashbrown::HashTable;
use rayon::prelude::*;

use crate::table::JoinRows;
use crate::table::keys::Key;

/// Rows by entity, then time.
pub(super) struct Asked {
    pub(super) rows: JoinRows,
    entities: Vec<Entity>,
    by_key: HashTable<u32>,
    asking: Vec<Asking>,
}

struct Entity {
    hash: u64,
    /// A row that has its key.
    row: u32,
    /// Its part of `asking`.
    asking: Range<usize>,
}

/// A row that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asking {
    entity: u32,
    /// Microseconds since 1970, UTC.
    pub(super) time: i64,
    pub(super) row: u32,
}

impl Asked {
    /// Rows without a key ask for nothing.
    pub(super) fn new(rows: JoinRows) -> Self {
        let keys = &rows.keys;
        let mut entities: Vec<Entity> = Vec::new();
        let mut by_key: HashTable<u32> = HashTable::new();
        let mut asking = Vec::with_capacity(rows.len());
        for (row, time) in (0_u32..).zip(rows.times.iter()) {
            let Some(key) = keys.get(row as usize) else { continue };
            let hash = key.hash();
            let same = |entity: &u32| {
                entities.get(*entity as usize).is_some_and(|known| keys.get(known.row as usize) == Some(key))
            };
            let entity = match by_key.find(hash, same) {
                Some(entity) => *entity,
                None => {
                    // There are no more entities than rows, which are counted in 32 bits.
                    let entity = entities.len() as u32;
                    entities.push(Entity { hash, row, asking: 0..0 });
                    by_key.insert_unique(hash, entity, |other| entities.get(*other as usize).map_or(0, |e| e.hash));
                    entity
                }
            };
            asking.push(Asking { entity, time: *time, row });
        }
        asking.par_sort_unstable();
        let mut start = 0;
        for run in asking.chunk_by(|a, b| a.entity == b.entity) {
            let end = start + run.len();
            if let Some(entity) = run.first().and_then(|asking| entities.get_mut(asking.entity as usize)) {
                entity.asking = start..end;
            }
            start = end;
        }
        Self { rows, entities, by_key, asking }
    }

    /// How many entities there are; their numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.entities.len()
    }

    /// The number of an entity, if anybody asks about it.
    pub(super) fn find(&self, key: Key<'_>) -> Option<u32> {
        let hash = key.hash();
        let same = |entity: &u32| self.key(*entity) == Some(key);
        self.by_key.find(hash, same).copied()
    }

    /// The number of an entity, if anybody asks about it at this time or later.
    pub(super) fn find_at(&self, key: Key<'_>, micros: i64) -> Option<u32> {
        let entity = self.find(key)?;
        (self.asking(entity).last()?.time >= micros).then_some(entity)
    }

    /// The key of an entity.
    pub(super) fn key(&self, entity: u32) -> Option<Key<'_>> {
        self.rows.keys.get(self.entities.get(entity as usize)?.row as usize)
    }

    /// Those who ask about an entity, earliest first.
    pub(super) fn asking(&self, entity: u32) -> &[Asking] {
        let range = self.entities.get(entity as usize).map_or(0..0, |entity| entity.asking.clone());
        self.asking.get(range).unwrap_or_default()
    }
}
