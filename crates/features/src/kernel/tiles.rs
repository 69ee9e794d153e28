//! Partial results by tile: short sorted lists, which are smaller than maps and as fast at this size.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tiling::KEPT;

/// A partial result that can be merged with another in any order; the default is that of no events.
pub(super) trait Partial: Default {
    /// Adds what the other has seen.
    fn merge(&mut self, other: &Self);
}

/// The partial results of the latest [`KEPT`] tiles that have any, by tile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(bound = "P: Serialize + serde::de::DeserializeOwned")]
pub(super) struct Tiles<P>(#[serde(with = "ascending")] Vec<(i64, P)>);

impl<P: Partial> Tiles<P> {
    /// The partial result of this tile; `None` if the tile is earlier than all that are kept.
    pub(super) fn at(&mut self, tile: i64) -> Option<&mut P> {
        let index = match self.0.binary_search_by_key(&tile, |(number, _)| *number) {
            Ok(index) => index,
            Err(0) if self.0.len() >= KEPT => return None,
            Err(index) if self.0.len() >= KEPT => {
                self.0.remove(0);
                self.0.insert(index - 1, (tile, P::default()));
                index - 1
            }
            Err(index) => {
                insert_tight(&mut self.0, index, (tile, P::default()));
                index
            }
        };
        self.0.get_mut(index).map(|(_, partial)| partial)
    }

    /// The tiles of this range that have anything, in order.
    pub(super) fn within(&self, tiles: &RangeInclusive<i64>) -> &[(i64, P)] {
        // From the end, where the present is: what is read of memory is what is asked for.
        let later = self.0.iter().rev().take_while(|(tile, _)| tile > tiles.end()).count();
        let (known, _) = self.0.split_at(self.0.len() - later);
        let within = known.iter().rev().take_while(|(tile, _)| tile >= tiles.start()).count();
        known.split_at(known.len() - within).1
    }

    /// The partial results of this range as one.
    pub(super) fn over(&self, tiles: &RangeInclusive<i64>) -> P {
        let mut sum = P::default();
        for (_, partial) in self.within(tiles) {
            sum.merge(partial);
        }
        sum
    }

    /// Every tile that is kept.
    pub(super) fn each(&mut self, mut change: impl FnMut(&mut P)) {
        self.0.iter_mut().for_each(|(_, partial)| change(partial));
    }

    /// Adds the other's tiles to these.
    pub(super) fn merge(&mut self, other: &Self) {
        for (tile, partial) in &other.0 {
            if let Some(mine) = self.at(*tile) {
                mine.merge(partial);
            }
        }
    }
}

/// [`Vec::insert`] that grows by half instead of doubling: an entity has many small lists.
pub(super) fn insert_tight<T>(list: &mut Vec<T>, index: usize, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 2 + 1);
    }
    list.insert(index, value);
}

/// Lists whose keys never fall, as differences, which are short once they are variable-length integers.
pub(super) mod ascending {
    use super::*;

    pub(in super::super) fn serialize<V: Serialize, S: Serializer>(
        list: &[(i64, V)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        serializer.collect_seq(list.iter().map(|(key, value)| {
            let step = key.wrapping_sub(before);
            before = *key;
            (step, value)
        }))
    }

    pub(in super::super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(i64, V)>, D::Error> {
        let mut list = Vec::<(i64, V)>::deserialize(deserializer)?;
        let mut before = 0;
        for (step, _) in &mut list {
            *step = step.wrapping_add(before);
            before = *step;
        }
        if list.is_sorted_by_key(|(key, _)| *key) { Ok(list) } else { Err(de::Error::custom("keys fall")) }
    }
}
