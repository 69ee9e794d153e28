//! How much each item is liked: the weights of positive events in a window that moves with the clock, and since ever.
//! Windows are tiled as [`crate::tiling`] says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tastemaker_types::{Timestamp, Window};

use crate::Aggregate;
use crate::tiling::{KEPT, TILES, Tiling};

/// Popularity in a window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Popularity {
    tiling: Tiling,
}

/// An item was liked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Like {
    /// The item's row.
    pub row: u32,
    /// The weight of the event.
    pub weight: f32,
    /// When.
    pub at: Timestamp,
}

/// The tiles and the sums since ever.
#[derive(Debug, Clone, Default)]
pub struct PopularityState {
    /// By number; each maps rows to sums. Shared with readers and copied when written while one of them reads.
    tiles: BTreeMap<i64, Arc<HashMap<u32, f32>>>,
    /// By row.
    total: Vec<f32>,
}

/// The tiles of one window and the sums since ever, for working on without holding the state.
#[derive(Debug, Clone)]
pub struct PopularityRead {
    tiles: Vec<Arc<HashMap<u32, f32>>>,
    /// Sums since ever, by row.
    pub total: Vec<f32>,
}

impl Popularity {
    /// Popularity in a window of this length; less than a second counts as one.
    pub fn new(window: Window) -> Self {
        Self { tiling: Tiling::new(window) }
    }

    /// Tiles that are kept at most, the latest. Clocks may be a day ahead: tiles of so much future do not push out those of the
    /// present window.
    fn kept(&self) -> usize {
        KEPT + (Timestamp::MAX_AHEAD.as_micros() / self.tiling.hop()) as usize
    }

    /// Drops tiles that have left the window long before `now`, if there are many.
    pub fn forget(&self, state: &mut PopularityState, now: Timestamp) {
        if state.tiles.len() > KEPT {
            let first = self.tiling.window(now).start().saturating_sub(TILES);
            state.tiles = state.tiles.split_off(&first);
        }
    }

    /// The length of a tile.
    pub fn hop(&self) -> Window {
        Window::from_micros(self.tiling.hop())
    }
}

impl Aggregate for Popularity {
    type Input = Like;
    type State = PopularityState;
    type Output<'a> = PopularityRead;

    fn apply(&self, state: &mut PopularityState, input: Like) {
        let row = input.row as usize;
        if state.total.len() <= row {
            state.total.resize(row + 1, 0.0);
        }
        if let Some(total) = state.total.get_mut(row) {
            *total += input.weight;
        }
        let tile = state.tiles.entry(self.tiling.tile(input.at)).or_default();
        *Arc::make_mut(tile).entry(input.row).or_default() += input.weight;
        if state.tiles.len() > self.kept() {
            state.tiles.pop_first();
        }
    }

    fn read(&self, state: &PopularityState, now: Timestamp) -> PopularityRead {
        let tiles = state.tiles.range(self.tiling.window(now)).map(|(_, tile)| Arc::clone(tile)).collect();
        PopularityRead { tiles, total: state.total.clone() }
    }
}

impl PopularityRead {
    /// Sums in the window by row; rows past the end have none.
    pub fn windowed(&self) -> Vec<f32> {
        let mut sums = vec![0f64; self.total.len()];
        for tile in &self.tiles {
            for (row, sum) in tile.iter() {
                if let Some(total) = sums.get_mut(*row as usize) {
                    *total += f64::from(*sum);
                }
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::SECOND;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    /// A window of 320 s: the hop is 10 s.
    fn popularity() -> Popularity {
        Popularity::new(Window::from_micros(320 * SECOND))
    }

    fn windowed(likes: &[(u32, f32, i64)], now: i64) -> Vec<f32> {
        let popularity = popularity();
        let mut state = PopularityState::default();
        for &(row, weight, seconds) in likes {
            popularity.apply(&mut state, Like { row, weight, at: at(seconds) });
        }
        popularity.read(&state, at(now)).windowed()
    }

    #[test]
    fn an_event_leaves_with_its_tile_and_needs_no_other_event_to_do_so() {
        let likes = [(0, 1.0, 1_005)];
        for (now, expected) in [(1_005, 1.0), (1_325, 1.0), (1_329, 1.0), (1_330, 0.0), (9_999, 0.0)] {
            assert_eq!(windowed(&likes, now), [expected], "at {now}: the tile [1000, 1010) counts while now < 1330");
        }
    }

    #[test]
    fn the_end_of_a_tile_is_open_and_its_beginning_closed() {
        let likes = [(0, 1.0, 1_000), (1, 1.0, 999)];
        assert_eq!(windowed(&likes, 1_320), [1.0, 0.0], "1000 − 320 s begins the tile of row 0 and ends that of row 1");
        assert_eq!(windowed(&likes, 1_319), [1.0, 1.0]);
    }

    #[test]
    fn an_event_of_a_later_tile_waits_until_now_reaches_it() {
        let likes = [(0, 1.0, 2_000)];
        assert_eq!(windowed(&likes, 1_999), [0.0]);
        assert_eq!(windowed(&likes, 2_000), [1.0]);
    }

    #[test]
    fn times_before_1970_have_tiles_too() {
        assert_eq!(windowed(&[(0, 1.0, -5), (0, 2.0, -320)], 0), [3.0]);
        assert_eq!(windowed(&[(0, 1.0, -5), (0, 2.0, -321)], 0), [1.0]);
    }

    #[test]
    fn wrong_clocks_cannot_fill_memory() {
        let popularity = popularity();
        let mut state = PopularityState::default();
        for n in 0..10_000 {
            popularity.apply(&mut state, Like { row: 0, weight: 1.0, at: at(n * 1_000) });
        }
        assert_eq!(state.tiles.len(), popularity.kept());
        assert!(popularity.kept() < 10_000);
        assert_eq!(popularity.read(&state, at(0)).total, [10_000.0]);
    }

    #[test]
    fn clocks_ahead_by_what_is_allowed_do_not_push_out_the_present() {
        let popularity = popularity();
        let now = 1_000_000;
        let mut state = PopularityState::default();
        popularity.apply(&mut state, Like { row: 0, weight: 1.0, at: at(now - 300) });
        // One like in every tile of the day ahead.
        for ahead in (10..=86_400).step_by(10) {
            popularity.apply(&mut state, Like { row: 1, weight: 1.0, at: at(now + ahead) });
        }
        assert_eq!(popularity.read(&state, at(now)).windowed(), [1.0, 0.0]);
        popularity.forget(&mut state, at(now));
        assert_eq!(popularity.read(&state, at(now)).windowed(), [1.0, 0.0]);
        // And each counts when its time comes.
        assert_eq!(popularity.read(&state, at(now + 86_400)).windowed(), [0.0, 33.0]);
    }

    #[test]
    fn what_has_left_the_window_is_forgotten_and_answers_stay_the_same() {
        let popularity = popularity();
        let mut state = PopularityState::default();
        for n in 0..1_000 {
            popularity.apply(&mut state, Like { row: n % 7, weight: 1.0, at: at(i64::from(n) * 10) });
        }
        let before = popularity.read(&state, at(9_999)).windowed();
        assert_eq!(state.tiles.len(), 1_000);
        popularity.forget(&mut state, at(9_999));
        assert!(state.tiles.len() <= KEPT, "{} tiles", state.tiles.len());
        assert_eq!(popularity.read(&state, at(9_999)).windowed(), before);
    }

    #[test]
    fn a_reader_is_not_disturbed_by_the_writer() {
        let popularity = popularity();
        let mut state = PopularityState::default();
        popularity.apply(&mut state, Like { row: 0, weight: 1.0, at: at(10) });
        let read = popularity.read(&state, at(10));
        popularity.apply(&mut state, Like { row: 0, weight: 1.0, at: at(10) });
        assert_eq!(read.windowed(), [1.0]);
        assert_eq!(popularity.read(&state, at(10)).windowed(), [2.0]);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_scan_in_any_order(
            likes in proptest::collection::vec((0u32..5, 1u8..4, 0i64..600), 0..80),
            now in 0i64..900,
        ) {
            let likes: Vec<(u32, f32, i64)> = likes.into_iter().map(|(r, w, t)| (r, f32::from(w), t)).collect();
            let rows = likes.iter().map(|like| like.0 as usize + 1).max().unwrap_or(0);
            let mut expected = vec![0f32; rows];
            for &(row, weight, time) in &likes {
                let (begins, ends) = (time / 10 * 10, time / 10 * 10 + 10);
                if begins <= now && ends > now - 320 {
                    expected[row as usize] += weight;
                }
            }
            let mut reversed = likes.clone();
            reversed.reverse();
            prop_assert_eq!(windowed(&likes, now), expected.clone());
            prop_assert_eq!(windowed(&reversed, now), expected);
        }
    }
}
