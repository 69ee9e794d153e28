//! All items in order of popularity and of age, computed once for many requests.

use std::cmp::Ordering;

use tastemaker_types::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::popularity::PopularityRead;

/// Rows that each ranking lists. A filter that lets too few of them pass is served by [`Rankings::most_popular`] over what it does let pass.
pub const LISTED: usize = 16_384;

/// What liking since ever counts beside liking in the window: little while there is much of the latter, and everything where
/// nothing is in the window, so that an old catalog has an order too.
const LASTING: f32 = 0.01;

/// Items ranked at one moment.
#[derive(Debug, Default)]
pub struct Rankings {
    at: Timestamp,
    rows: u32,
    /// By row: the sum of weights in the window, and [`LASTING`] times that since ever.
    weights: Vec<f32>,
    /// 1 / ln(1 + the largest weight).
    scale: f32,
    popular: Vec<u32>,
    newest: Vec<(u32, Timestamp)>,
}

impl Rankings {
    /// Ranks the rows `0..rows` that `alive` says are there; `first_seen` tells their age.
    pub(crate) fn new(
        now: Timestamp,
        rows: u32,
        popularity: PopularityRead,
        alive: impl Fn(u32) -> bool,
        first_seen: impl Fn(u32) -> Option<Timestamp>,
    ) -> Self {
        let mut weights = popularity.windowed();
        weights.iter_mut().zip(&popularity.total).for_each(|(weight, total)| *weight += LASTING * total);
        let most = weights.iter().copied().fold(0f32, f32::max);
        let scale = if most > 0.0 { 1.0 / most.ln_1p() } else { 0.0 };
        let mut rankings = Self { at: now, rows, weights, scale, popular: Vec::new(), newest: Vec::new() };

        let liked = (0..rows).filter(|row| rankings.weight(*row) > 0.0 && alive(*row));
        rankings.popular = rankings.most_popular(liked, LISTED);

        let seen = (0..rows).filter(|row| alive(*row)).filter_map(|row| Some((row, first_seen(row)?)));
        let seen = seen.filter(|(_, first_seen)| *first_seen <= now);
        rankings.newest = first(seen, LISTED, |a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        rankings
    }

    /// Rankings of rows whose weights are known, on the scale of rankings made elsewhere; rows past the end of `weights` have none.
    pub(crate) fn restored(
        at: Timestamp,
        weights: Vec<f32>,
        scale: f32,
        popular: Vec<u32>,
        newest: Vec<(u32, Timestamp)>,
    ) -> Self {
        Self { at, rows: weights.len() as u32, weights, scale, popular, newest }
    }

    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// The same for rankings that list the same items with the same weights, whenever they were computed.
    pub fn fingerprint(&self) -> u64 {
        let mut listed = self.scale.to_le_bytes().to_vec();
        for row in &self.popular {
            listed.extend(row.to_le_bytes());
            listed.extend(self.weight(*row).to_le_bytes());
        }
        for (row, seen) in &self.newest {
            listed.extend(row.to_le_bytes());
            listed.extend(seen.as_micros().to_le_bytes());
        }
        xxh3_64(&listed)
    }

    /// The moment they were computed for.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Rows at or past this one came later, and are in no list yet.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Liked rows, most popular first, then by row. At most [`LISTED`].
    pub fn popular(&self) -> &[u32] {
        &self.popular
    }

    /// Rows and when they were first seen, newest first. At most [`LISTED`].
    pub fn newest(&self) -> &[(u32, Timestamp)] {
        &self.newest
    }

    /// How popular a row is, from 0 (never liked) to 1 (the most popular one): `ln(1 + w) / ln(1 + w_max)` with w the sum of
    /// weights in the window and a hundredth of the sum since ever.
    pub fn popularity(&self, row: u32) -> f32 {
        self.weight(row).max(0.0).ln_1p() * self.scale
    }

    /// The first `limit` of these rows in the order of [`popular`](Self::popular).
    pub fn most_popular(&self, rows: impl Iterator<Item = u32>, limit: usize) -> Vec<u32> {
        first(rows, limit, |a, b| self.order(*a, *b))
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        self.weight(b).total_cmp(&self.weight(a)).then(a.cmp(&b))
    }

    pub(crate) fn weight(&self, row: u32) -> f32 {
        self.weights.get(row as usize).copied().unwrap_or(0.0)
    }
}

/// The first `limit` in order, sorted. Memory is that of twice the limit, however many there are.
fn first<T: Copy>(items: impl Iterator<Item = T>, limit: usize, order: impl Fn(&T, &T) -> Ordering + Copy) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    let mut last_kept: Option<T> = None;
    for item in items {
        if last_kept.is_some_and(|last| order(&item, &last) != Ordering::Less) {
            continue;
        }
        kept.push(item);
        if kept.len() >= 2 * limit.max(1) {
            cut(&mut kept, limit, order);
            last_kept = kept.last().copied();
        }
    }
    cut(&mut kept, limit, order);
    kept.sort_unstable_by(order);
    kept
}

/// Leaves the first `limit` in order, the last of them at the end.
fn cut<T>(items: &mut Vec<T>, limit: usize, order: impl Fn(&T, &T) -> Ordering) {
    if limit > 0 && limit < items.len() {
        items.select_nth_unstable_by(limit - 1, order);
    }
    items.truncate(limit);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tastemaker_types::Window;

    use super::*;
    use crate::{Aggregate, Like, Popularity, PopularityState};

    fn at(days: i64) -> Timestamp {
        Timestamp::EPOCH.plus(Window::from_days(days))
    }

    fn rankings(likes: &[(u32, i64)], now: i64, alive: impl Fn(u32) -> bool) -> Rankings {
        let popularity = Popularity::new(Window::from_days(32));
        let mut state = PopularityState::default();
        for &(row, day) in likes {
            popularity.apply(&mut state, Like { row, weight: 1.0, at: at(day) });
        }
        Rankings::new(at(now), 5, popularity.read(&state, at(now)), alive, |row| Some(at(i64::from(row % 3) * 10)))
    }

    proptest! {
        #[test]
        fn the_first_are_those_of_a_sort(items in proptest::collection::vec(0u32..50, 0..200), limit in 0usize..40) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sorted.truncate(limit);
            prop_assert_eq!(first(items.into_iter(), limit, u32::cmp), sorted);
        }
    }

    #[test]
    fn what_is_liked_now_comes_before_what_was_liked_more() {
        let old_hit = [(0, 1), (0, 2), (0, 3), (1, 100), (2, 100), (2, 101)];
        assert_eq!(
            rankings(&old_hit, 5, |_| true).popular(),
            [0, 2, 1],
            "later events wait; since ever breaks the tie"
        );
        let later = rankings(&old_hit, 102, |_| true);
        assert_eq!(later.popular(), [2, 1, 0]);
        assert_eq!(later.popularity(2), 1.0);
        assert!(later.popularity(0) > 0.0, "what was liked long ago comes before what never was");
        assert!(later.popularity(0) < later.popularity(1));
    }

    #[test]
    fn when_nothing_is_in_the_window_everything_since_ever_counts() {
        let long_ago = rankings(&[(0, 1), (0, 2), (1, 3)], 5_000, |_| true);
        assert_eq!(long_ago.popular(), [0, 1]);
        assert_eq!(long_ago.popularity(0), 1.0);
        assert!(long_ago.popularity(1) > 0.5 && long_ago.popularity(4) == 0.0);
    }

    #[test]
    fn the_dead_are_in_no_list() {
        let rankings = rankings(&[(0, 1), (1, 1), (1, 2)], 30, |row| row != 1 && row != 2);
        assert_eq!(rankings.popular(), [0]);
        assert_eq!(rankings.newest(), [(4, at(10)), (0, at(0)), (3, at(0))]);
    }

    #[test]
    fn an_item_from_the_future_is_not_new_yet() {
        let rankings = rankings(&[], 15, |_| true);
        assert_eq!(rankings.newest(), [(1, at(10)), (4, at(10)), (0, at(0)), (3, at(0))]);
        assert_eq!(rankings.popularity(0), 0.0);
    }
}
