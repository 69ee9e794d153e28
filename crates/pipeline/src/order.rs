//! The total order of scores: higher first, NaN after everything else, equal scores by a key (an id) so that the same candidates always
//! come out in the same order.

use std::cmp::Ordering;

/// Descending by score, NaN last (whatever its sign), then ascending by key. `-0.0` and `0.0` are equal.
pub fn by_score<K: Ord>(a: (f32, K), b: (f32, K)) -> Ordering {
    match (a.0.is_nan(), b.0.is_nan()) {
        (false, false) => b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal),
        (a_nan, b_nan) => a_nan.cmp(&b_nan),
    }
    .then_with(|| a.1.cmp(&b.1))
}

/// Positions of `scores` in the order of [`by_score`], at most `limit` of them; `key` breaks ties and must differ between positions for the
/// order to be total.
pub fn rank<K: Ord>(scores: &[f32], limit: usize, key: impl Fn(u32) -> K) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let score = |position: u32| scores.get(position as usize).copied().unwrap_or(f32::NAN);
    let compare = |a: &u32, b: &u32| by_score((score(*a), key(*a)), (score(*b), key(*b)));
    if limit < order.len() && limit > 0 {
        order.select_nth_unstable_by(limit - 1, compare);
    }
    order.truncate(limit);
    order.sort_unstable_by(compare);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nan_comes_last_and_infinities_are_ordered() {
        let scores = [f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY, -f32::NAN, 2.0];
        assert_eq!(rank(&scores, 6, |p| p), [3, 5, 1, 2, 0, 4]);
    }

    #[test]
    fn equal_scores_are_in_the_order_of_their_keys() {
        assert_eq!(rank(&[0.5, -0.0, 0.5, 0.0], 4, |p| ["d", "b", "a", "a"][p as usize]), [2, 0, 3, 1]);
    }

    proptest! {
        #[test]
        fn a_limited_ranking_is_the_beginning_of_the_whole_one(
            scores in proptest::collection::vec(prop_oneof![any::<f32>(), (0u8..4).prop_map(f32::from)], 0..60),
            limit in 0usize..70,
        ) {
            let mut whole: Vec<u32> = (0..scores.len() as u32).collect();
            whole.sort_by(|&a, &b| by_score((scores[a as usize], a), (scores[b as usize], b)));
            whole.truncate(limit);
            prop_assert_eq!(rank(&scores, limit, |p| p), whole);
        }
    }
}
