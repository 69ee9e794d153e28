//! Ranking metrics by their textbook definitions, one list at a time, and their means over many users. A ranking is
//! item rows, best first; what is relevant is a set of item rows.

use rayon::prelude::*;

use crate::matrix::Matrix;

/// Relevant items among the first `k`, as a share of all relevant items; 0 if none is relevant.
pub fn recall_at_k(ranking: &[u32], relevant: &[u32], k: usize) -> f64 {
    if relevant.is_empty() {
        return 0.0;
    }
    hits(ranking, relevant, k).filter(|hit| *hit).count() as f64 / relevant.len() as f64
}

/// Binary normalised discounted cumulative gain (Järvelin, Kekäläinen 2002): Σ 1/log₂(1 + position) over hits among
/// the first `k`, divided by that of an ideal list of min(k, |relevant|) hits; 0 if none is relevant.
pub fn ndcg_at_k(ranking: &[u32], relevant: &[u32], k: usize) -> f64 {
    let gain = |at: usize| 1.0 / ((at + 2) as f64).log2();
    let ideal: f64 = (0..k.min(relevant.len())).map(gain).sum();
    let found: f64 = hits(ranking, relevant, k).enumerate().filter(|(_, hit)| *hit).map(|(at, _)| gain(at)).sum();
    if ideal > 0.0 { found / ideal } else { 0.0 }
}

/// Average precision: the precision at each hit among the first `k`, summed and divided by min(k, |relevant|); its
/// mean over users is MAP@k. 0 if none is relevant.
pub fn map_at_k(ranking: &[u32], relevant: &[u32], k: usize) -> f64 {
    let mut found = 0.0;
    let mut sum = 0.0;
    for (at, hit) in hits(ranking, relevant, k).enumerate() {
        if hit {
            found += 1.0;
            sum += found / (at + 1) as f64;
        }
    }
    let possible = k.min(relevant.len());
    if possible > 0 { sum / possible as f64 } else { 0.0 }
}

/// Share of a catalog of `items` that appears among the first `k` of any ranking.
pub fn coverage_at_k<'a>(rankings: impl IntoIterator<Item = &'a [u32]>, items: usize, k: usize) -> f64 {
    let mut shown = vec![false; items];
    for item in rankings.into_iter().flat_map(|ranking| ranking.iter().take(k)) {
        if let Some(shown) = shown.get_mut(*item as usize) {
            *shown = true;
        }
    }
    if items == 0 { 0.0 } else { shown.iter().filter(|s| **s).count() as f64 / items as f64 }
}

/// Mean self-information of the first `k`, in bits: −log₂ of the share of users who know the item (Zhou et al.
/// 2010). An item that nobody knows counts as known by one. 0 for an empty ranking.
pub fn novelty_at_k(ranking: &[u32], item_users: &[usize], users: usize, k: usize) -> f64 {
    let information = |item: &u32| {
        let known = item_users.get(*item as usize).copied().unwrap_or(0).max(1);
        (users.max(known) as f64 / known as f64).log2()
    };
    mean(ranking.iter().take(k).map(information))
}

/// Intra-list diversity: the mean of 1 − cosine over all pairs among the first `k` (Ziegler et al. 2005, as a
/// distance). A zero vector has cosine 0 to everything. 0 for fewer than two items.
///
/// # Panics
/// If an item has no row in `item_vectors`.
pub fn diversity_at_k(ranking: &[u32], item_vectors: &Matrix, k: usize) -> f64 {
    let top = &ranking[..k.min(ranking.len())];
    let dot = |a: u32, b: u32| -> f64 {
        let (a, b) = (item_vectors.row(a as usize), item_vectors.row(b as usize));
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let norms: Vec<f64> = top.iter().map(|item| dot(*item, *item).sqrt()).collect();
    let pairs = (0..top.len()).flat_map(|a| (a + 1..top.len()).map(move |b| (a, b)));
    mean(pairs.map(|(a, b)| {
        let norm = norms[a] * norms[b];
        1.0 - if norm > 0.0 { dot(top[a], top[b]) / norm } else { 0.0 }
    }))
}

/// Means of the metrics over the users who have something relevant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RankingReport {
    /// Users with at least one relevant item; the others are left out.
    pub users: usize,
    /// Length of the lists.
    pub k: usize,
    /// Mean [`recall_at_k`].
    pub recall: f64,
    /// Mean [`ndcg_at_k`].
    pub ndcg: f64,
    /// Mean [`map_at_k`].
    pub map: f64,
    /// [`coverage_at_k`].
    pub coverage: f64,
    /// Mean [`novelty_at_k`].
    pub novelty: f64,
    /// Mean [`diversity_at_k`].
    pub diversity: f64,
}

/// What [`evaluate_rankings`] needs to know of the items.
#[derive(Debug, Clone, Copy)]
pub struct ItemFacts<'a> {
    /// Number of training users of each item; its length is the size of the catalog.
    pub item_users: &'a [usize],
    /// Number of training users.
    pub users: usize,
    /// Vectors whose angles measure how alike two items are.
    pub vectors: &'a Matrix,
}

/// All metrics over one ranking and one set of relevant items per user, in parallel; means are taken in order.
///
/// # Panics
/// If there are not as many rankings as sets, or an item lies outside the catalog.
pub fn evaluate_rankings(
    rankings: &[Vec<u32>],
    relevant: &[Vec<u32>],
    items: ItemFacts<'_>,
    k: usize,
) -> RankingReport {
    assert_eq!(rankings.len(), relevant.len());
    let kept: Vec<(&Vec<u32>, &Vec<u32>)> = rankings.iter().zip(relevant).filter(|(_, r)| !r.is_empty()).collect();
    let each: Vec<[f64; 5]> = kept
        .par_iter()
        .map(|(ranking, relevant)| {
            [
                recall_at_k(ranking, relevant, k),
                ndcg_at_k(ranking, relevant, k),
                map_at_k(ranking, relevant, k),
                novelty_at_k(ranking, items.item_users, items.users, k),
                diversity_at_k(ranking, items.vectors, k),
            ]
        })
        .collect();
    let [recall, ndcg, map, novelty, diversity] = std::array::from_fn(|m| mean(each.iter().map(|user| user[m])));
    let coverage = coverage_at_k(kept.iter().map(|(ranking, _)| ranking.as_slice()), items.item_users.len(), k);
    RankingReport { users: kept.len(), k, recall, ndcg, map, coverage, novelty, diversity }
}

fn hits<'a>(ranking: &'a [u32], relevant: &'a [u32], k: usize) -> impl Iterator<Item = bool> + 'a {
    ranking.iter().take(k).map(|item| relevant.contains(item))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn recall_is_the_share_of_relevant_items_found() {
        assert_eq!(recall_at_k(&[7, 3, 9, 1], &[3, 1, 5, 8], 4), 0.5);
        assert_eq!(recall_at_k(&[7, 3, 9, 1], &[3, 1, 5, 8], 2), 0.25);
        assert_eq!(recall_at_k(&[7], &[], 4), 0.0);
    }

    #[test]
    fn ndcg_of_a_hit_in_second_place_is_one_over_log2_of_three() {
        assert!(close(ndcg_at_k(&[7, 3], &[3], 2), 1.0 / 3f64.log2()));
        assert_eq!(ndcg_at_k(&[3, 7], &[3], 2), 1.0);
        // Three are relevant but only two places exist: two hits are ideal.
        assert_eq!(ndcg_at_k(&[3, 4], &[3, 4, 5], 2), 1.0);
        assert!(close(ndcg_at_k(&[9, 3, 4], &[3, 4, 5], 3), (1.0 / 3f64.log2() + 0.5) / (1.5 + 1.0 / 3f64.log2())));
        assert_eq!(ndcg_at_k(&[3], &[], 2), 0.0);
    }

    #[test]
    fn average_precision_is_the_mean_precision_at_hits() {
        // Hits at places 1 and 3 of 3, two relevant: (1/1 + 2/3) / 2.
        assert!(close(map_at_k(&[4, 9, 5], &[4, 5], 3), (1.0 + 2.0 / 3.0) / 2.0));
        assert_eq!(map_at_k(&[4, 5], &[4, 5, 6, 7], 2), 1.0);
        assert_eq!(map_at_k(&[1], &[], 2), 0.0);
    }

    #[test]
    fn coverage_counts_each_item_once() {
        let rankings: [&[u32]; 2] = [&[0, 1, 2], &[1, 0, 3]];
        assert_eq!(coverage_at_k(rankings, 8, 2), 0.25);
        assert_eq!(coverage_at_k(rankings, 8, 3), 0.5);
        assert_eq!(coverage_at_k(rankings, 0, 3), 0.0);
    }

    #[test]
    fn an_item_known_by_one_user_in_eight_carries_three_bits() {
        assert_eq!(novelty_at_k(&[0, 1], &[1, 8], 8, 2), 1.5);
        assert_eq!(novelty_at_k(&[0], &[0], 8, 1), 3.0, "unknown counts as known by one");
        assert_eq!(novelty_at_k(&[], &[1], 8, 2), 0.0);
    }

    #[test]
    fn diversity_is_zero_for_parallel_items_and_one_for_perpendicular_ones() {
        let vectors = Matrix::from_vec(4, 2, vec![1.0, 0.0, 3.0, 0.0, 0.0, 2.0, 0.0, 0.0]).unwrap();
        assert_eq!(diversity_at_k(&[0, 1], &vectors, 2), 0.0);
        assert_eq!(diversity_at_k(&[0, 2], &vectors, 2), 1.0);
        assert!(close(diversity_at_k(&[0, 1, 2], &vectors, 3), 2.0 / 3.0));
        assert_eq!(diversity_at_k(&[0, 3], &vectors, 2), 1.0);
        assert_eq!(diversity_at_k(&[0, 1], &vectors, 1), 0.0);
    }

    #[test]
    fn the_report_leaves_out_users_with_nothing_relevant() {
        let vectors = Matrix::from_vec(3, 1, vec![1.0, 1.0, 1.0]).unwrap();
        let items = ItemFacts { item_users: &[2, 1, 1], users: 2, vectors: &vectors };
        let rankings = [vec![0, 1], vec![2, 1], vec![0, 2]];
        let relevant = [vec![0], vec![], vec![1, 2]];
        let report = evaluate_rankings(&rankings, &relevant, items, 2);
        assert_eq!((report.users, report.recall, report.coverage), (2, 0.75, 1.0));
        assert_eq!(report.novelty, 0.5);
    }
}
