//! How time is cut into tiles, for every window of this crate.
//!
//! A tile is one *hop* long, a 32nd of the window and at least a second: tile `i` is `[i·hop, (i+1)·hop)`, by the events' own
//! timestamps, also before 1970. A read at `now` takes the tiles that overlap `[now − window, now]`: the tile in which the window begins counts
//! whole (so the window is up to one hop longer), later tiles do not count until `now` reaches them, and in the tile of `now` everything
//! counts. Reading later needs no event for the old ones to go.

use std::ops::RangeInclusive;

use tastemaker_types::{Timestamp, Window};

/// Tiles in one window.
pub(crate) const TILES: i64 = 32;
/// Tiles to keep: a window and as much again, so that events with wrong clocks cannot fill memory. Beyond it the earliest go.
pub(crate) const KEPT: usize = 2 * TILES as usize + 2;
/// The shortest window and the shortest hop, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// The tiles of a window of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    window: i64,
    hop: i64,
}

impl Tiling {
    /// The tiles of a window of this length; less than a second counts as one.
    pub(crate) fn new(window: Window) -> Self {
        let window = window.as_micros().max(SECOND);
        Self { window, hop: (window / TILES).max(SECOND) }
    }

    /// The length of a tile, in microseconds.
    pub(crate) fn hop(self) -> i64 {
        self.hop
    }

    /// The tile of this instant.
    pub(crate) fn tile(self, at: Timestamp) -> i64 {
        at.as_micros().div_euclid(self.hop)
    }

    /// How far this instant is from the beginning of its tile, in microseconds: from 0 to below the hop.
    pub(crate) fn offset(self, at: Timestamp) -> i64 {
        at.as_micros().rem_euclid(self.hop)
    }

    /// The tiles that a read at `now` takes.
    pub(crate) fn window(self, now: Timestamp) -> RangeInclusive<i64> {
        self.tile(now.minus(Window::from_micros(self.window)))..=self.tile(now)
    }
}
