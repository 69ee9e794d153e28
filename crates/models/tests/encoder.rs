//! The query encoder: the fold-in of a training user's history is that user's factor, its bytes survive a round
//! trip, and what it cannot use it refuses.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::ops::ControlFlow;

use tastemaker_models::{Als, Factorization, Factorizer, Interactions, Matrix, ModelError, QueryEncoder, Side};

fn data() -> Interactions {
    let triplets = (0..4000u32).map(|k| {
        let (user, item) = (k.wrapping_mul(2_654_435_761) >> 10, k.wrapping_mul(2_246_822_519) >> 9);
        (user % 90 * (user % 7) / 7, item % 70, 0.5 + (k % 4) as f32)
    });
    Interactions::from_triplets(90, 70, triplets).unwrap()
}

fn als(rank: usize) -> Factorization {
    Als { rank, iterations: 3, ..Als::default() }.fit(&data(), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn history(data: &Interactions, user: usize) -> Vec<(u32, f32)> {
    let (items, weights) = data.by_user().row(user);
    items.iter().copied().zip(weights.iter().copied()).collect()
}

#[test]
fn folding_in_a_training_history_gives_that_users_factor() {
    let data = data();
    for rank in [3, 8, 40] {
        let model = als(rank);
        for user in 0..data.users() {
            let vector = model.encoder.user_vector(&model.item_factors, &history(&data, user)).unwrap();
            assert_eq!(vector, model.user_factors.row(user), "user {user} at rank {rank}");
        }
    }
}

#[test]
fn the_order_of_a_history_and_repeats_in_it_do_not_matter() {
    let model = als(8);
    let vector = |history: &[(u32, f32)]| model.encoder.user_vector(&model.item_factors, history).unwrap();
    assert_eq!(vector(&[(5, 1.0), (9, 2.0), (5, 0.5)]), vector(&[(9, 2.0), (5, 1.5)]));
    assert_eq!(vector(&[]), [0.0; 8]);
    assert_ne!(vector(&[(5, 1.0)]), vector(&[(5, 3.0)]), "weight matters");
}

#[test]
fn a_history_it_cannot_use_is_refused_by_name() {
    let model = als(8);
    let refuse = |history: &[(u32, f32)]| model.encoder.user_vector(&model.item_factors, history).unwrap_err();
    assert_eq!(refuse(&[(70, 1.0)]), ModelError::OutOfRange { side: Side::Item, index: 70, len: 70 });
    assert_eq!(refuse(&[(1, 0.0)]), ModelError::Weight { user: None, item: 1, weight: 0.0 });
    assert!(matches!(refuse(&[(1, f32::NAN)]), ModelError::Weight { item: 1, .. }));
    assert!(matches!(refuse(&[(1, 3e38), (1, 3e38)]), ModelError::Weight { item: 1, .. }));
    let narrow = Matrix::zeros(70, 7);
    assert!(matches!(model.encoder.user_vector(&narrow, &[]), Err(ModelError::Shape { expected: 8, found: 7, .. })));
    let short = Matrix::zeros(69, 8);
    assert!(matches!(model.encoder.user_vector(&short, &[]), Err(ModelError::Shape { expected: 70, found: 69, .. })));
}

#[test]
fn bytes_survive_a_round_trip_and_damage_is_refused() {
    let encoder = als(8).encoder;
    let bytes = encoder.to_bytes();
    assert_eq!(QueryEncoder::from_bytes(&bytes).unwrap(), encoder);
    let patched = |at: usize, patch: &[u8]| {
        let mut damaged = bytes.clone();
        damaged[at..at + patch.len()].copy_from_slice(patch);
        damaged
    };
    for (damaged, expected) in [
        (bytes[..20].to_vec(), "fewer than its header"),
        (bytes[..bytes.len() - 4].to_vec(), "do not make"),
        (patched(0, b"X"), "does not start with"),
        (patched(8, &[2]), "version is 2"),
        (patched(12, &[7]), "model is number 7"),
        (patched(16, &[0]), "rank is 0"),
        (patched(16, &[255, 255, 255, 255]), "rank is 4294967295"),
        (patched(bytes.len() - 4, &f32::NAN.to_le_bytes()), "value 10 is not finite"),
        (patched(bytes.len() - 4, &(-1f32).to_le_bytes()), "negative"),
    ] {
        let error = QueryEncoder::from_bytes(&damaged).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
