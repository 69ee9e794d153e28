//! The rows of a join while the table passes by: sorted by entity and time, sharded so that many threads can offer at once.

use std::ops::Range;

use hashbrown::HashTable;
use parking_lot::Mutex;
use rayon::prelude::*;

use super::join::JoinRows;
use super::keys::{Key, Keys};
use super::read::KeyBatch;
use super::version::Version;

/// The rows that ask, by the hash of their key.
pub(super) struct Seekers<'a> {
    shards: Vec<Shard<'a>>,
}

/// Some entities, and the rows that ask about them.
struct Shard<'a> {
    keys: &'a Keys,
    entities: Vec<Entity>,
    by_key: HashTable<u32>,
    /// The asking rows by entity, then time.
    asked: Vec<Asked>,
    /// For each of `asked`, the best that was offered to it and to none before it.
    best: Mutex<Vec<Option<Version>>>,
}

struct Entity {
    hash: u64,
    /// Its part of `asked`.
    asked: Range<usize>,
    /// A row that has its key.
    row: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    entity: u32,
    time: i64,
    row: u32,
}

impl<'a> Seekers<'a> {
    pub(super) fn new(rows: &'a JoinRows) -> Self {
        // Several shards for each core, so that two seldom want the same one.
        let shards = (rayon::current_num_threads() * 8).next_power_of_two().clamp(16, 512);
        let mut parts: Vec<Vec<(u64, u32)>> = vec![Vec::new(); shards];
        for (row, index) in (0..rows.len()).zip(0_u32..) {
            let Some(hash) = rows.keys.get(row).map(|key| key.hash()) else { continue };
            if let Some(part) = parts.get_mut(shard_of(hash, shards)) {
                part.push((hash, index));
            }
        }
        Self { shards: parts.into_par_iter().map(|part| Shard::new(rows, &part)).collect() }
    }

    /// Offers every row of `batch` that `says` something, given its key and when it was created, to the first that could know it.
    pub(super) fn offer(&self, batch: &KeyBatch, include_late: bool, says: impl Fn(Key<'_>, i64) -> bool) {
        let mut offers: Vec<Vec<(usize, Version)>> = vec![Vec::new(); self.shards.len()];
        for (row, version) in batch.versions() {
            let Some(key) = batch.keys.get(row) else { continue };
            let hash = key.hash();
            let index = shard_of(hash, self.shards.len());
            let known = if include_late { version.event } else { version.known() };
            if let (Some(shard), Some(offers)) = (self.shards.get(index), offers.get_mut(index))
                && let Some(place) = shard.first_at(key, hash, known)
                && says(key, version.created)
            {
                offers.push((place, version));
            }
        }
        for (shard, offers) in self.shards.iter().zip(offers) {
            if offers.is_empty() {
                continue;
            }
            let mut best = shard.best.lock();
            for (place, version) in offers {
                // The maximum does not depend on the order of offers, so neither does the join on that of threads.
                if let Some(best) = best.get_mut(place) {
                    *best = (*best).max(Some(version));
                }
            }
        }
    }

    /// The rows that found something, and what.
    pub(super) fn answers(self) -> impl Iterator<Item = (u32, Version)> {
        let answers: Vec<Vec<_>> = self.shards.into_par_iter().map(Shard::answers).collect();
        answers.into_iter().flatten()
    }
}

/// Bits from the middle of the hash: the map within a shard uses those at its ends.
fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize & (shards - 1)
}

impl<'a> Shard<'a> {
    fn new(rows: &'a JoinRows, part: &[(u64, u32)]) -> Self {
        let keys = &rows.keys;
        let mut entities: Vec<Entity> = Vec::new();
        let mut by_key: HashTable<u32> = HashTable::new();
        let mut asked = Vec::with_capacity(part.len());
        for &(hash, row) in part {
            let key = keys.get(row as usize);
            let known = by_key
                .find(hash, |entity| entities.get(*entity as usize).is_some_and(|e| keys.get(e.row as usize) == key));
            let entity = match known {
                Some(entity) => *entity,
                None => {
                    // There are no more entities than rows, which are counted in 32 bits.
                    let entity = entities.len() as u32;
                    entities.push(Entity { hash, asked: 0..0, row });
                    by_key.insert_unique(hash, entity, |other| entities.get(*other as usize).map_or(0, |e| e.hash));
                    entity
                }
            };
            let time = rows.times.get(row as usize).copied().unwrap_or(i64::MIN);
            asked.push(Asked { entity, time, row });
        }
        asked.sort_unstable();
        let mut start = 0;
        for run in asked.chunk_by(|a, b| a.entity == b.entity) {
            let end = start + run.len();
            if let Some(entity) = run.first().and_then(|asked| entities.get_mut(asked.entity as usize)) {
                entity.asked = start..end;
            }
            start = end;
        }
        let best = Mutex::new(vec![None; asked.len()]);
        Self { keys, entities, by_key, asked, best }
    }

    /// The place in `asked` of the first row about `key` whose time is not before `known`.
    fn first_at(&self, key: Key<'_>, hash: u64, known: i64) -> Option<usize> {
        let same = |entity: &&Entity| self.keys.get(entity.row as usize) == Some(key);
        let found = self.by_key.find(hash, |entity| self.entities.get(*entity as usize).as_ref().is_some_and(same))?;
        let range = self.entities.get(*found as usize)?.asked.clone();
        let place = range.start + self.asked.get(range.clone())?.partition_point(|asked| asked.time < known);
        (place < range.end).then_some(place)
    }

    fn answers(self) -> Vec<(u32, Version)> {
        let mut answers = Vec::with_capacity(self.asked.len());
        let mut entity = None;
        let mut best = None;
        for (asked, offered) in self.asked.iter().zip(self.best.into_inner()) {
            if entity != Some(asked.entity) {
                (entity, best) = (Some(asked.entity), None);
            }
            best = best.max(offered);
            answers.extend(best.map(|best| (asked.row, best)));
        }
        answers
    }
}
