//! The exact best `k` items for many users at once: scores by blocked matrix products, seen items masked, the top
//! kept tile by tile so that no users × items matrix is ever held.

use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::error::{ModelError, check_setting};
use crate::matrix::Matrix;

/// Users scored together.
const USERS: usize = 48;
/// Items scored together; USERS × ITEMS scores stay in the second-level cache.
const ITEMS: usize = 1024;

/// For each row of `users`, the `k` items with the largest inner products (ties to the lower row), best first,
/// without the items that `seen` gives for that row in ascending order. A list is shorter than `k` only when the
/// user has seen the rest.
pub fn top_items<'a>(
    users: &Matrix,
    items: &Matrix,
    seen: impl Fn(usize) -> &'a [u32] + Sync,
    k: usize,
) -> Result<Vec<Vec<u32>>, ModelError> {
    let rank = users.cols();
    if rank != items.cols() {
        return Err(ModelError::Shape {
            what: "number of columns of the item factors",
            expected: rank,
            found: items.cols(),
        });
    }
    check_setting("k", k, k >= 1, "at least 1")?;
    check_setting("rank", rank, rank >= 1, "at least 1")?;
    users.check_finite("user factors")?;
    items.check_finite("item factors")?;
    let lists: Vec<Vec<Vec<u32>>> = users
        .as_slice()
        .par_chunks(USERS * rank)
        .enumerate()
        .map_init(
            || vec![0f32; USERS * ITEMS],
            |scores, (block, block_users)| {
                let n = block_users.len() / rank;
                let first_user = block * USERS;
                let mut masks: Vec<&[u32]> = (0..n).map(|u| seen(first_user + u)).collect();
                let mut best: Vec<Best> = (0..n).map(|_| Best::new(k)).collect();
                for (tile, tile_items) in items.as_slice().chunks(ITEMS * rank).enumerate() {
                    let (first, len) = (tile * ITEMS, tile_items.len() / rank);
                    let scores = &mut scores[..n * len];
                    faer::linalg::matmul::matmul(
                        MatMut::from_row_major_slice_mut(scores, n, len),
                        Accum::Replace,
                        MatRef::from_row_major_slice(block_users, n, rank),
                        MatRef::from_row_major_slice(tile_items, len, rank).transpose(),
                        1.0,
                        Par::Seq,
                    );
                    for ((scores, mask), best) in scores.chunks_mut(len).zip(&mut masks).zip(&mut best) {
                        let here = mask.partition_point(|item| (*item as usize) < first + len);
                        for item in &mask[..here] {
                            if let Some(score) = (*item as usize).checked_sub(first).and_then(|at| scores.get_mut(at)) {
                                *score = f32::NEG_INFINITY;
                            }
                        }
                        *mask = &mask[here..];
                        best.take(first, scores);
                    }
                }
                best.into_iter().map(Best::into_sorted).collect()
            },
        )
        .collect();
    Ok(lists.into_iter().flatten().collect())
}

/// The best `k` of a stream of scores that comes in ascending order of item.
struct Best {
    k: usize,
    /// Scores up to this one cannot make it any more.
    floor: f32,
    kept: Vec<(f32, u32)>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, floor: f32::NEG_INFINITY, kept: Vec::new() }
    }

    fn take(&mut self, first: usize, scores: &[f32]) {
        for (at, score) in scores.iter().enumerate() {
            // A tie with the floor loses to the lower item, which came earlier.
            if *score > self.floor {
                // Adding zero turns -0 into 0, which is the same score.
                self.kept.push((*score + 0.0, (first + at) as u32));
                if self.kept.len() >= 2 * self.k + 64 {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, descending);
            self.kept.truncate(self.k);
            self.floor = self.kept[self.k - 1].0;
        }
    }

    fn into_sorted(mut self) -> Vec<u32> {
        self.shrink();
        self.kept.sort_unstable_by(descending);
        self.kept.into_iter().map(|(_, item)| item).collect()
    }
}

fn descending(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn lists_equal_those_of_a_full_sort(
            (users, items, rank) in (1usize..60, 1usize..2500, 1usize..5),
            k in 1usize..30,
            seed in 0u32..1000,
        ) {
            // Small integers, so that scores are exact and ties are many.
            let value = |k: usize| ((k as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 20) as f32 % 4.0 - 1.0;
            let user_factors = Matrix::from_vec(users, rank, (0..users * rank).map(value).collect()).unwrap();
            let item_factors =
                Matrix::from_vec(items, rank, (0..items * rank).map(|k| value(k + 77)).collect()).unwrap();
            let seen: Vec<Vec<u32>> =
                (0..users).map(|u| (0..items as u32).filter(|i| (i + u as u32).is_multiple_of(3)).collect()).collect();
            let lists = top_items(&user_factors, &item_factors, |u| &seen[u], k).unwrap();
            for (u, list) in lists.iter().enumerate() {
                let score = |i: u32| -> f32 {
                    user_factors.row(u).iter().zip(item_factors.row(i as usize)).map(|(a, b)| a * b).sum::<f32>() + 0.0
                };
                let mut expected: Vec<u32> = (0..items as u32).filter(|i| !seen[u].contains(i)).collect();
                expected.sort_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
                expected.truncate(k);
                prop_assert_eq!(list, &expected);
            }
        }
    }

    #[test]
    fn factors_of_different_rank_are_refused() {
        let error = top_items(&Matrix::zeros(2, 3), &Matrix::zeros(5, 4), |_| &[], 2).unwrap_err();
        assert!(matches!(error, ModelError::Shape { expected: 3, found: 4, .. }));
    }
}
