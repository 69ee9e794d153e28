//! The latest distinct items of a user: those with positive events, which make the user's vector, and those met at all, which are not
//! recommended again. Both are one state machine over two kinds of entry.
//!
//! An item is there once, at the time of its latest event, whatever the order in which events arrive; of more items than the cap the latest
//! stay, equal times by row. Everything but the summed weight of a positive entry is the same for every order of arrival, and the weight is
//! too (up to rounding) as long as the item is never pushed out by the cap and met again.

use tastemaker_types::Timestamp;

use crate::Aggregate;

/// What is remembered of one item.
pub trait Entry: Copy {
    /// The item's row.
    fn row(&self) -> u32;
    /// When the item was last met, in a unit that orders as time does.
    fn at(&self) -> i64;
    /// Takes in another entry of the same item.
    fn join(&mut self, other: Self);
}

/// A liked item. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Liked {
    /// The item's row.
    pub row: u32,
    /// The sum of the weights of its positive events, as training sums them.
    pub weight: f32,
    /// The latest of them.
    pub at: Timestamp,
}

impl Entry for Liked {
    fn row(&self) -> u32 {
        self.row
    }
    fn at(&self) -> i64 {
        self.at.as_micros()
    }
    fn join(&mut self, other: Self) {
        self.weight += other.weight;
        self.at = self.at.max(other.at);
    }
}

/// An item that was met. 8 bytes: times are whole seconds since 1970, and outside of 1970 to 2106 the nearest end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The item's row.
    pub row: u32,
    /// The latest time.
    pub seconds: u32,
}

impl Seen {
    /// The item was met at this time.
    pub fn new(row: u32, at: Timestamp) -> Self {
        Self { row, seconds: at.as_micros().div_euclid(1_000_000).clamp(0, i64::from(u32::MAX)) as u32 }
    }
}

impl Entry for Seen {
    fn row(&self) -> u32 {
        self.row
    }
    fn at(&self) -> i64 {
        i64::from(self.seconds)
    }
    fn join(&mut self, other: Self) {
        self.seconds = self.seconds.max(other.seconds);
    }
}

/// The latest `cap` distinct items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent<E> {
    cap: usize,
    entry: std::marker::PhantomData<fn() -> E>,
}

impl<E> Recent<E> {
    /// Remembers this many items.
    pub fn new(cap: usize) -> Self {
        Self { cap, entry: std::marker::PhantomData }
    }
}

impl<E: Entry + 'static> Aggregate for Recent<E> {
    type Input = E;
    /// Ascending by time, then row: an event in the usual order goes to the end.
    type State = Vec<E>;
    /// Latest first.
    type Output<'a> = std::iter::Rev<std::slice::Iter<'a, E>>;

    fn apply(&self, state: &mut Vec<E>, mut input: E) {
        if let Some(old) = state.iter().rposition(|entry| entry.row() == input.row()) {
            let mut joined = state.remove(old);
            joined.join(input);
            input = joined;
        }
        let key = |entry: &E| (entry.at(), entry.row());
        let place = state.partition_point(|entry| key(entry) < key(&input));
        if state.len() >= self.cap {
            // The earliest goes; that may be the new one itself.
            if place == 0 {
                return;
            }
            state.copy_within(1..place, 0);
            if let Some(slot) = state.get_mut(place - 1) {
                *slot = input;
            }
            return;
        }
        if state.len() == state.capacity() {
            // Doubling would waste half of the memory of most users.
            state.reserve_exact((state.len() / 4).clamp(2, 256));
        }
        state.insert(place, input);
    }

    /// What is in the log has happened, whatever the sender's clock says: an entry is not held back until `now` reaches it.
    fn read<'a>(&'a self, state: &'a Vec<E>, _now: Timestamp) -> Self::Output<'a> {
        state.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn liked(row: u32, weight: f32, micros: i64) -> Liked {
        Liked { row, weight, at: at(micros) }
    }

    fn read<E: Entry + PartialEq + 'static>(cap: usize, events: impl IntoIterator<Item = E>) -> Vec<E> {
        let recent = Recent::new(cap);
        let mut state = Vec::new();
        for event in events {
            recent.apply(&mut state, event);
            assert!(state.len() <= cap);
        }
        recent.read(&state, at(0)).copied().collect()
    }

    /// Sort and scan over the whole log.
    fn slow(cap: usize, events: &[Liked]) -> Vec<(Timestamp, u32)> {
        let mut latest: BTreeMap<u32, Timestamp> = BTreeMap::new();
        for event in events {
            let time = latest.entry(event.row).or_insert(event.at);
            *time = (*time).max(event.at);
        }
        let mut all: Vec<(Timestamp, u32)> = latest.into_iter().map(|(row, time)| (time, row)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(cap);
        all
    }

    #[test]
    fn the_latest_item_comes_first_and_an_item_comes_once() {
        let history = read(10, [liked(1, 1.0, 10), liked(2, 1.0, 20), liked(1, 5.0, 30)]);
        assert_eq!(history, [liked(1, 6.0, 30), liked(2, 1.0, 20)]);
    }

    #[test]
    fn an_event_that_comes_late_takes_its_place_in_time() {
        let history = read(10, [liked(1, 1.0, 30), liked(2, 1.0, 10), liked(1, 2.0, 20)]);
        assert_eq!(history, [liked(1, 3.0, 30), liked(2, 1.0, 10)]);
    }

    #[test]
    fn a_full_history_forgets_the_earliest_even_if_that_is_the_new_one() {
        assert_eq!(
            read(2, [liked(1, 1.0, 1), liked(2, 1.0, 2), liked(3, 1.0, 3)]),
            [liked(3, 1.0, 3), liked(2, 1.0, 2)]
        );
        assert_eq!(
            read(2, [liked(2, 1.0, 2), liked(3, 1.0, 3), liked(1, 1.0, 1)]),
            [liked(3, 1.0, 3), liked(2, 1.0, 2)]
        );
        assert_eq!(read(0, [liked(1, 1.0, 1)]), []);
    }

    #[test]
    fn equal_times_are_in_the_order_of_rows() {
        let rows = |history: Vec<Liked>| history.iter().map(|entry| entry.row).collect::<Vec<_>>();
        assert_eq!(rows(read(2, [liked(7, 1.0, 5), liked(9, 1.0, 5), liked(8, 1.0, 5)])), [9, 8]);
        assert_eq!(rows(read(2, [liked(9, 1.0, 5), liked(8, 1.0, 5), liked(7, 1.0, 5)])), [9, 8]);
    }

    #[test]
    fn times_that_a_seen_item_cannot_hold_go_to_the_nearest_end() {
        assert_eq!(Seen::new(1, at(-5)).seconds, 0);
        assert_eq!(Seen::new(1, at(i64::MAX)).seconds, u32::MAX);
        assert_eq!(Seen::new(1, at(1_999_999)).seconds, 1);
    }

    #[test]
    fn memory_grows_with_the_history() {
        let recent = Recent::new(200);
        let mut state = Vec::new();
        (0..50).for_each(|n| recent.apply(&mut state, liked(n, 1.0, i64::from(n))));
        assert_eq!(size_of::<Liked>(), 16);
        assert_eq!(size_of::<Seen>(), 8);
        assert!(state.capacity() <= 62, "{} places for 50 entries", state.capacity());
    }

    fn events() -> impl Strategy<Value = Vec<Liked>> {
        let event = (0u32..12, 1u8..4, 0i64..20).prop_map(|(row, weight, time)| liked(row, f32::from(weight), time));
        proptest::collection::vec(event, 0..60)
    }

    proptest! {
        #[test]
        fn items_and_times_are_those_of_sort_and_scan_in_any_order(events in events(), cap in 1usize..15, seed in any::<u64>()) {
            let mut shuffled = events.clone();
            let mut state = seed | 1;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            let expected = slow(cap, &events);
            for order in [events, shuffled] {
                let got: Vec<(Timestamp, u32)> = read(cap, order).iter().map(|e| (e.at, e.row)).collect();
                prop_assert_eq!(&got, &expected);
            }
        }

        #[test]
        fn weights_are_sums_while_the_cap_is_not_reached(events in events()) {
            for entry in read(12, events.clone()) {
                let sum: f32 = events.iter().filter(|e| e.row == entry.row).map(|e| e.weight).sum();
                prop_assert_eq!(entry.weight, sum);
            }
        }
    }
}
