//! Measuring a model on held-out events, as it would serve: the user's vector is folded in from their latest events, items
//! they know are left out unless serving recommends them again, and all others compete. The baseline ranks items by the number of users who liked them.

use std::cmp::Reverse;

use rayon::prelude::*;
use tastemaker_artifacts::Metrics;
use tastemaker_models::metrics::{ItemFacts, evaluate_rankings};
use tastemaker_models::{Factorization, Interactions, Matrix, ModelError, top_items};

use crate::TestUser;

/// The recommended item rows of each test user, best first.
pub(crate) type Rankings = Vec<Vec<u32>>;

/// Ranks for every user by the vector that is folded in from their latest `history_length` events. Who knows nothing that
/// was learned from gets what is popular, as when serving.
pub(crate) fn rank_by_model(
    model: &Factorization,
    learned: &Interactions,
    users: &[TestUser],
    history_length: usize,
    k: usize,
) -> Result<Rankings, ModelError> {
    let histories: Vec<Vec<(u32, f32)>> = users
        .iter()
        .map(|user| {
            let recent = &user.history[user.history.len().saturating_sub(history_length)..];
            recent.iter().copied().filter(|(item, _)| learned.by_item().row_len(*item as usize) > 0).collect()
        })
        .collect();
    let fold_in = |history: &Vec<(u32, f32)>| model.encoder.user_vector(&model.item_factors, history);
    let vectors: Vec<Vec<f32>> = histories.par_iter().map(fold_in).collect::<Result<_, _>>()?;
    let vectors = Matrix::from_vec(users.len(), model.item_factors.cols(), vectors.concat())?;
    let mut rankings = top_items(&vectors, &model.item_factors, |user| &users[user].excluded, k)?;
    let popular = rank_by_popularity(learned, users, k);
    for ((ranking, history), popular) in rankings.iter_mut().zip(&histories).zip(popular) {
        if history.is_empty() {
            *ranking = popular;
        }
    }
    Ok(rankings)
}

/// Ranks for every user the items that most users liked.
pub(crate) fn rank_by_popularity(learned: &Interactions, users: &[TestUser], k: usize) -> Rankings {
    let degree = |item: u32| learned.by_item().row_len(item as usize);
    let mut popular: Vec<u32> = (0..learned.items() as u32).filter(|item| degree(*item) > 0).collect();
    popular.sort_by_key(|item| (Reverse(degree(*item)), *item));
    let rank = |user: &TestUser| {
        popular.iter().copied().filter(|item| user.excluded.binary_search(item).is_err()).take(k).collect()
    };
    users.par_iter().map(rank).collect()
}

/// The metrics of rankings by name: `recall@20` and so on, for the given `k`.
pub(crate) fn summarize(
    rankings: &Rankings,
    users: &[TestUser],
    learned: &Interactions,
    item_factors: &Matrix,
    k: usize,
) -> Metrics {
    let relevant: Vec<Vec<u32>> = users.iter().map(|user| user.relevant.clone()).collect();
    let item_users: Vec<usize> = (0..learned.items()).map(|item| learned.by_item().row_len(item)).collect();
    let learned_users = (0..learned.users()).filter(|user| learned.by_user().row_len(*user) > 0).count();
    let items = ItemFacts { item_users: &item_users, users: learned_users, vectors: item_factors };
    let report = evaluate_rankings(rankings, &relevant, items, k);
    let named = [
        ("recall", report.recall),
        ("ndcg", report.ndcg),
        ("map", report.map),
        ("coverage", report.coverage),
        ("novelty", report.novelty),
        ("diversity", report.diversity),
    ];
    named.into_iter().map(|(name, value)| (format!("{name}@{k}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_ranks_by_users_and_leaves_known_items_out() {
        let learned = Interactions::from_triplets(
            3,
            4,
            [(0, 1, 9.0), (0, 2, 1.0), (1, 2, 1.0), (1, 1, 1.0), (2, 2, 1.0), (2, 0, 50.0)],
        )
        .unwrap();
        let user = |known: &[u32]| TestUser { user: 0, history: vec![], excluded: known.to_vec(), relevant: vec![3] };
        let rankings = rank_by_popularity(&learned, &[user(&[]), user(&[2])], 2);
        assert_eq!(rankings, [vec![2, 1], vec![1, 0]], "weights do not count, and item 3 was never liked");
        let metrics = summarize(&rankings, &[user(&[]), user(&[2])], &learned, &Matrix::zeros(4, 1), 2);
        assert_eq!((metrics["recall@2"], metrics["coverage@2"]), (0.0, 0.75));
    }
}
