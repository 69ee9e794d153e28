//! What every vector index must do, whatever it is made of: each kind of index, and each backend, runs these same checks. Only for tests.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "test support: a failed check is a panic")]

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Hit, IndexError, MAX_EF, MAX_K, MAX_ROWS, SearchParams, VectorIndex};
use crate::Bitmap;

const EXACT: SearchParams = SearchParams { ef: None, exact: true };

/// Vectors like those of a factor model: a few tastes, components of falling variance, norms with a heavy tail. Row-major, and the taste of each.
pub fn vectors(count: usize, dim: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut shared = SmallRng::seed_from_u64(0);
    let centres: Vec<Vec<f32>> = (0..20).map(|_| point(&mut shared, dim)).collect();
    let (mut vectors, mut tastes) = (Vec::with_capacity(count * dim), Vec::with_capacity(count));
    for _ in 0..count {
        let taste = rng.random_range(0..centres.len());
        let norm = (rng.random_range(-1.0..1.0f32) + rng.random_range(-0.7..0.7f32)).exp();
        vectors.extend(
            centres[taste].iter().zip(point(&mut rng, dim)).map(|(centre, noise)| norm * (centre + 0.7 * noise)),
        );
        tastes.push(taste);
    }
    (vectors, tastes)
}

fn point(rng: &mut SmallRng, dim: usize) -> Vec<f32> {
    (1..=dim)
        .map(|component| {
            (rng.random_range(-1.0..1.0f32) + rng.random_range(-1.0..1.0f32)) / (component as f32).powf(0.4)
        })
        .collect()
}

/// The true answer, by `f64` arithmetic over every vector.
pub fn brute_force(vectors: &[f32], query: &[f32], k: usize, passes: impl Fn(u32) -> bool) -> Vec<u32> {
    let score = |vector: &[f32]| vector.iter().zip(query).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let mut scored: Vec<(f64, u32)> = vectors
        .chunks_exact(query.len())
        .enumerate()
        .filter(|&(row, _)| passes(row as u32))
        .map(|(row, vector)| (score(vector), row as u32))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(k).map(|(_, row)| row).collect()
}

/// The share of `truth` that `hits` has.
pub fn recall(hits: &[Hit], truth: &[u32]) -> f64 {
    if truth.is_empty() {
        return 1.0;
    }
    truth.iter().filter(|&&row| hits.iter().any(|hit| hit.row == row)).count() as f64 / truth.len() as f64
}

/// Runs every check on indexes that `build` makes of a dimension and vectors for the rows from 0 on.
pub fn check<I: VectorIndex>(build: impl Fn(usize, Vec<f32>) -> I) {
    the_true_neighbours_are_found(&build);
    scores_are_inner_products_in_order(&build);
    only_rows_that_pass_are_returned(&build);
    changes_are_seen_by_the_next_search(&build);
    an_empty_index_finds_nothing_until_it_is_given_something(&build);
    what_makes_no_sense_is_refused(&build);
    searches_and_changes_at_once_do_not_disturb_each_other(&build);
}

fn the_true_neighbours_are_found<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let (items, _) = vectors(3000, 24, 1);
    let (queries, _) = vectors(60, 24, 2);
    let index = build(24, items.clone());
    assert_eq!((index.dim(), index.len(), index.is_empty()), (24, 3000, false));
    let (mut approximate, mut exact) = (0.0, 0.0);
    for query in queries.chunks_exact(24) {
        let truth = brute_force(&items, query, 10, |_| true);
        approximate += recall(&index.search(query, 10, None, &SearchParams::default()).unwrap().hits, &truth) / 60.0;
        exact += recall(&index.search(query, 10, None, &EXACT).unwrap().hits, &truth) / 60.0;
    }
    assert!(approximate >= 0.97, "recall@10 is {approximate}");
    assert!(exact > 0.998, "an exact search's recall@10 is {exact}");
    assert_eq!(index.search(&queries[..24], 5000, None, &SearchParams::default()).unwrap().hits.len(), 3000);
}

fn scores_are_inner_products_in_order<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let mut items = vec![0.0; 200 * 2];
    for (row, vector) in items.chunks_exact_mut(2).enumerate() {
        vector.copy_from_slice(&[(row / 2) as f32, 1.0]); // Each vector twice: ties.
    }
    let hits = build(2, items).search(&[2.0, -1.0], 4, None, &EXACT).unwrap().hits;
    let expected = [(198, 197.0), (199, 197.0), (196, 195.0), (197, 195.0)];
    assert_eq!(hits, expected.map(|(row, score)| Hit { row, score }));
}

fn only_rows_that_pass_are_returned<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let (items, tastes) = vectors(3000, 16, 3);
    let (queries, _) = vectors(20, 16, 4);
    let index = build(16, items.clone());
    for keep in [1, 2, 10, 300, 3001] {
        let every = Bitmap::from_rows(3000, (1..3000).filter(|row| row % keep == 0));
        let of_a_taste = Bitmap::from_rows(3000, (0..3000).filter(|&row| tastes[row as usize] as u32 == keep % 20));
        for (query, filter) in queries.chunks_exact(16).flat_map(|query| [(query, &every), (query, &of_a_taste)]) {
            let hits = index.search(query, 10, Some(filter), &SearchParams::default()).unwrap().hits;
            assert!(hits.iter().all(|hit| filter.contains(hit.row)));
            assert_eq!(hits.len(), filter.count().min(10));
            let exact = index.search(query, 10, Some(filter), &EXACT).unwrap().hits;
            assert!(recall(&exact, &brute_force(&items, query, 10, |row| filter.contains(row))) > 0.89);
        }
    }
    // A filter made when there were fewer rows passes none of the later ones.
    let early = index.search(&queries[..16], 10, Some(&Bitmap::full(5)), &SearchParams::default()).unwrap().hits;
    assert_eq!(early.len(), 5);
}

fn changes_are_seen_by_the_next_search<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let (items, _) = vectors(500, 8, 5);
    let index = build(8, items);
    let query = [1.0; 8];
    let top = |index: &I| index.search(&query, 1, None, &SearchParams::default()).unwrap().hits[0];

    index.upsert(7, &[100.0; 8]).unwrap();
    assert_eq!(top(&index), Hit { row: 7, score: 800.0 });
    assert_eq!(index.len(), 500, "a replaced row is still one row");
    index.upsert(9000, &[200.0; 8]).unwrap();
    assert_eq!(top(&index), Hit { row: 9000, score: 1600.0 });
    assert_eq!((index.len(), index.vector(9000)), (501, Some(vec![200.0; 8])));
    index.upsert(9000, &[-200.0; 8]).unwrap();
    assert_eq!(top(&index).row, 7);

    assert!(index.delete(7).unwrap() && index.delete(9000).unwrap());
    assert!(!index.delete(7).unwrap(), "it is gone already");
    assert!(!index.delete(123_456).unwrap());
    assert_eq!((index.len(), index.vector(7), index.vector(9000)), (499, None, None));
    let all = index.search(&query, 1000, None, &SearchParams::default()).unwrap().hits;
    assert!(all.len() == 499 && all.iter().all(|hit| hit.row != 7 && hit.row != 9000));

    index.upsert(7, &[50.0; 8]).unwrap();
    assert_eq!((top(&index).row, index.len()), (7, 500));
}

fn an_empty_index_finds_nothing_until_it_is_given_something<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let index = build(3, Vec::new());
    assert!(index.is_empty() && index.vector(0).is_none());
    for params in [SearchParams::default(), EXACT] {
        assert!(index.search(&[1.0; 3], 5, None, &params).unwrap().hits.is_empty());
    }
    index.upsert(2, &[1.0, 2.0, 3.0]).unwrap();
    assert_eq!(index.search(&[1.0; 3], 5, None, &SearchParams::default()).unwrap().hits, [Hit { row: 2, score: 6.0 }]);
}

fn what_makes_no_sense_is_refused<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let index = build(2, vec![1.0; 8]);
    let search = |query: &[f32], k, ef| index.search(query, k, None, &SearchParams { ef, exact: false }).map(|_| ());
    assert!(matches!(search(&[1.0; 3], 1, None), Err(IndexError::Dimension { expected: 2, found: 3, .. })));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        assert!(matches!(search(&[0.0, bad], 1, None), Err(IndexError::Component { component: 1, .. })));
        assert!(matches!(index.upsert(0, &[0.0, bad]), Err(IndexError::Component { component: 1, .. })));
    }
    for (k, ef) in [(0, None), (MAX_K + 1, None), (1, Some(0)), (1, Some(MAX_EF + 1))] {
        assert!(matches!(search(&[1.0; 2], k, ef), Err(IndexError::OutOfRange { .. })));
    }
    assert!(matches!(index.upsert(0, &[1.0]), Err(IndexError::Dimension { .. })));
    assert!(matches!(index.upsert(MAX_ROWS, &[1.0; 2]), Err(IndexError::OutOfRange { .. })));
    assert_eq!((index.len(), index.vector(0)), (4, Some(vec![1.0; 2])), "a refused change changes nothing");
}

fn searches_and_changes_at_once_do_not_disturb_each_other<I: VectorIndex>(build: &impl Fn(usize, Vec<f32>) -> I) {
    let (items, _) = vectors(400, 8, 6);
    let index = &build(8, items);
    std::thread::scope(|scope| {
        for writer in 0..2u32 {
            scope.spawn(move || {
                for step in 0..100 {
                    let row = 1000 + writer * 1000 + step;
                    index.upsert(row, &[1e3 + row as f32; 8]).unwrap();
                    let filter = Bitmap::from_rows(4000, [row]);
                    let hits = index.search(&[1.0; 8], 3, Some(&filter), &SearchParams::default()).unwrap().hits;
                    assert_eq!(hits.first().map(|hit| hit.row), Some(row), "an acknowledged change is seen");
                    if step % 3 == 0 {
                        assert!(index.delete(row).unwrap());
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..200 {
                let hits = index.search(&[1.0; 8], 600, None, &SearchParams::default()).unwrap().hits;
                assert!((400..=600).contains(&hits.len()), "{} hits", hits.len());
                assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
            }
        });
    });
    assert_eq!(index.len(), 400 + 2 * 66);
}
