//! The most frequent values: counts by value, bounded by Space-Saving (Metwally, Agrawal and El Abbadi 2005).

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::tiles::{Partial, insert_tight};

/// Values that are counted in one tile, per value that is asked for, and at least.
const VALUES_PER_K: u32 = 4;
const LEAST_VALUES: u32 = 64;

/// Counts by value, in the order of values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Top(Vec<(Box<str>, u64)>);

/// How many values a tile may have for this `k`.
pub(super) fn capacity(k: u32) -> usize {
    (VALUES_PER_K * k).max(LEAST_VALUES) as usize
}

impl Top {
    /// Counts one event. A new value that finds no place takes that of the rarest, and its count.
    pub(super) fn take(&mut self, value: &str, capacity: usize) {
        match self.0.binary_search_by(|(mine, _)| (**mine).cmp(value)) {
            Ok(index) => {
                if let Some((_, count)) = self.0.get_mut(index) {
                    *count = count.saturating_add(1);
                }
            }
            Err(index) if self.0.len() < capacity => insert_tight(&mut self.0, index, (value.into(), 1)),
            Err(index) => {
                let rarest = self.0.iter().enumerate().min_by_key(|(_, (_, count))| *count).map(|(place, _)| place);
                if let Some(place) = rarest {
                    let (_, count) = self.0.remove(place);
                    let index = index - usize::from(place < index);
                    self.0.insert(index, (value.into(), count.saturating_add(1)));
                }
            }
        }
    }

    /// Drops the rarest values beyond the capacity, as after a merge.
    pub(super) fn fit(&mut self, capacity: usize) {
        if self.0.len() > capacity {
            self.0.sort_by_key(|(_, count)| Reverse(*count));
            self.0.truncate(capacity);
            self.0.sort();
        }
    }

    /// The `k` most frequent of these tiles, most frequent first, by name where counts are equal.
    pub(super) fn most<'a>(tiles: impl Iterator<Item = &'a Self>, k: u32) -> Vec<(String, f64)> {
        let mut counts: Vec<(&str, u64)> =
            tiles.flat_map(|tile| tile.0.iter().map(|(value, count)| (&**value, *count))).collect();
        counts.sort_unstable();
        counts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts.truncate(k as usize);
        counts.into_iter().map(|(value, count)| (value.to_owned(), count as f64)).collect()
    }
}

impl Partial for Top {
    fn merge(&mut self, other: &Self) {
        for (value, count) in &other.0 {
            match self.0.binary_search_by(|(mine, _)| mine.cmp(value)) {
                Ok(index) => {
                    if let Some((_, mine)) = self.0.get_mut(index) {
                        *mine = mine.saturating_add(*count);
                    }
                }
                Err(index) => insert_tight(&mut self.0, index, (value.clone(), *count)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_values_survive_any_number_of_rare_ones() {
        let mut top = Top::default();
        for n in 0..10_000 {
            top.take(&format!("rare-{n}"), 64);
            if n % 20 == 0 {
                top.take("frequent", 64);
            }
        }
        assert_eq!(top.0.len(), 64);
        let most = Top::most([&top].into_iter(), 1);
        let [(value, count)] = &most[..] else { panic!("one value") };
        assert_eq!(value, "frequent");
        let bound = 10_500.0 / 64.0;
        assert!((500.0..=500.0 + bound).contains(count), "{count} is 500, and at most events / places more");
    }

    #[test]
    fn merged_tiles_keep_the_most_frequent_values() {
        let (mut one, mut other) = (Top::default(), Top::default());
        for n in 0..64 {
            one.take(&format!("one-{n}"), 64);
            other.take(&format!("other-{n}"), 64);
        }
        one.take("one-7", 64);
        one.merge(&other);
        one.fit(64);
        assert_eq!(one.0.len(), 64);
        assert!(one.0.is_sorted());
        assert_eq!(Top::most([&one].into_iter(), 1), [("one-7".to_owned(), 2.0)]);
    }
}
