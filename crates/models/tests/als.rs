//! Implicit ALS as its users see it: against the slow reference, against a known answer, and its errors.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::ops::ControlFlow;

use proptest::prelude::*;
use tastemaker_models::{Als, Factorizer, Interactions, Matrix, ModelError, Side, Solver, reference};

fn keep_going(_: tastemaker_models::Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Pseudo-random interactions in which low rows are frequent, without a generator to depend on.
fn skewed(users: u32, items: u32, n: u32) -> Interactions {
    let triplets = (0..n).map(|k| {
        let a = k.wrapping_mul(2_654_435_761) >> 8;
        let b = (k ^ 0x9E37).wrapping_mul(2_246_822_519) >> 7;
        let skew = |v: u32, len: u32| ((v % len) * (v / len % len) / len) % len;
        (skew(a, users), skew(b, items), 1.0 + (k % 3) as f32)
    });
    Interactions::from_triplets(users as usize, items as usize, triplets).unwrap()
}

fn largest_gap(fast: &Matrix, slow: &[f64]) -> f64 {
    fast.as_slice().iter().zip(slow).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

fn assert_half_steps_match_the_reference(als: &Als, data: &Interactions) {
    let (alpha, lambda, nu) =
        (f64::from(als.unobserved_weight), f64::from(als.regularization), f64::from(als.regularization_exponent));
    let mut checked = 0;
    als.fit(data, &mut |state| {
        let factors = state.factors.unwrap();
        let (rows, fixed, solved) = match state.solved {
            Side::User => (data.by_user(), factors.items, factors.users),
            Side::Item => (data.by_item(), factors.users, factors.items),
        };
        let expected = reference::half_step(rows, fixed, alpha, lambda, nu).unwrap();
        let scale = expected.iter().fold(0.0f64, |max, v| max.max(v.abs()));
        let gap = largest_gap(solved, &expected);
        assert!(
            gap < 2e-3 * scale,
            "{:?} half of iteration {}: off by {gap} of {scale}",
            state.solved,
            state.iteration
        );
        checked += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(checked, 2 * als.iterations);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_half_step_matches_the_slow_reference(
        rank in 1usize..24,
        unobserved_weight in prop::sample::select(vec![0.01f32, 0.1, 1.0]),
        regularization in prop::sample::select(vec![0.003f32, 0.05]),
        regularization_exponent in prop::sample::select(vec![0.0f32, 0.5, 1.0]),
        solver in prop::sample::select(vec![Solver::Auto, Solver::Primal, Solver::Dual]),
        n in 20u32..500,
    ) {
        let als = Als {
            rank, unobserved_weight, regularization, regularization_exponent, solver, iterations: 2,
            ..Als::default()
        };
        assert_half_steps_match_the_reference(&als, &skewed(31, 23, n));
    }
}

/// Mean training objective, straight from its formula.
fn objective(als: &Als, data: &Interactions, users: &Matrix, items: &Matrix) -> f64 {
    let dot = |u: usize, i: usize| -> f64 {
        users.row(u).iter().zip(items.row(i)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let (alpha, nu) = (f64::from(als.unobserved_weight), f64::from(als.regularization_exponent));
    let mut total = 0.0;
    for u in 0..data.users() {
        let (columns, weights) = data.by_user().row(u);
        total +=
            columns.iter().zip(weights).map(|(i, w)| f64::from(*w) * (1.0 - dot(u, *i as usize)).powi(2)).sum::<f64>();
        total += (0..data.items()).map(|i| alpha * dot(u, i).powi(2)).sum::<f64>();
    }
    for (csr, factors, others) in [(data.by_user(), users, data.items()), (data.by_item(), items, data.users())] {
        for row in 0..csr.rows() {
            let mass = (csr.row_len(row) as f64 + alpha * others as f64).powf(nu);
            let norm: f64 = factors.row(row).iter().map(|v| f64::from(*v).powi(2)).sum();
            total += f64::from(als.regularization) * mass * norm;
        }
    }
    total
}

#[test]
fn the_objective_never_rises_and_block_sweeps_reach_what_exact_solves_reach() {
    let data = skewed(300, 200, 20_000);
    let mut reached = Vec::new();
    for solver in [Solver::Exact, Solver::Blocks] {
        let iterations = if solver == Solver::Blocks { 40 } else { 12 };
        let als = Als { rank: 144, iterations, regularization: 0.03, solver, ..Als::default() };
        let mut last = f64::INFINITY;
        als.fit(&data, &mut |state| {
            let factors = state.factors.unwrap();
            let now = objective(&als, &data, factors.users, factors.items);
            assert!(now <= last * 1.000_01, "{solver:?} rose from {last} to {now} in iteration {}", state.iteration);
            last = now;
            ControlFlow::Continue(())
        })
        .unwrap();
        reached.push(last);
    }
    assert!(reached[1] < reached[0] * 1.01, "{reached:?}");
}

/// Even users like even items, odd users odd items, and each has one cell of its pattern left out.
fn checkerboard(n: u32) -> Interactions {
    let cells = (0..n).flat_map(|u| (0..n).map(move |i| (u, i)));
    let liked = cells.filter(|(u, i)| u % 2 == i % 2 && u != i);
    Interactions::from_triplets(n as usize, n as usize, liked.map(|(u, i)| (u, i, 1.0))).unwrap()
}

#[test]
fn on_a_checkerboard_the_missing_cell_is_the_first_recommendation() {
    let n = 50;
    let data = checkerboard(n);
    for solver in [Solver::Auto, Solver::Primal, Solver::Dual, Solver::Blocks] {
        let als = Als { rank: 8, iterations: 10, unobserved_weight: 0.1, solver, ..Als::default() };
        let model = als.fit(&data, &mut keep_going).unwrap();
        for user in 0..n {
            let vector = model.user_factors.row(user as usize);
            let score = |i: u32| vector.iter().zip(model.item_factors.row(i as usize)).map(|(a, b)| a * b).sum::<f32>();
            let (seen, _) = data.by_user().row(user as usize);
            let best = (0..n).filter(|i| !seen.contains(i)).max_by(|a, b| score(*a).total_cmp(&score(*b)));
            assert_eq!(best, Some(user), "{solver:?}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let data = skewed(5000, 3000, 60_000);
    for (rank, solver) in [(24, Solver::Auto), (130, Solver::Blocks)] {
        let fit = |threads| {
            let als = Als { rank, iterations: 2, threads, solver, ..Als::default() };
            als.fit(&data, &mut keep_going).unwrap()
        };
        let (one, two, three) = (fit(1), fit(2), fit(3));
        assert_eq!(one.user_factors, two.user_factors);
        assert_eq!(one.item_factors, two.item_factors);
        assert_eq!(one.item_factors, three.item_factors);
        assert_eq!(one.encoder, two.encoder);
        assert_ne!(one.item_factors, fit_seed(&data, rank, solver), "another seed starts elsewhere");
    }
}

fn fit_seed(data: &Interactions, rank: usize, solver: Solver) -> Matrix {
    let als = Als { rank, iterations: 2, seed: 99, solver, ..Als::default() };
    als.fit(data, &mut keep_going).unwrap().item_factors
}

#[test]
fn breaking_in_the_first_half_still_completes_the_iteration() {
    let data = skewed(40, 30, 400);
    let als = Als { rank: 6, iterations: 9, ..Als::default() };
    let mut calls = Vec::new();
    let stopped = als
        .fit(&data, &mut |state| {
            calls.push((state.iteration, state.solved));
            if state.iteration == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(calls, [(1, Side::Item), (1, Side::User), (2, Side::Item), (2, Side::User)]);
    let whole = Als { iterations: 2, ..als }.fit(&data, &mut keep_going).unwrap();
    assert_eq!(stopped.user_factors, whole.user_factors);
}

#[test]
fn unusable_settings_and_data_are_errors_that_name_the_cause() {
    let data = skewed(20, 20, 100);
    let fit = |als: Als| als.fit(&data, &mut keep_going).unwrap_err().to_string();
    for (als, expected) in [
        (Als { rank: 0, ..Als::default() }, "rank = 0 cannot be used; it must be from 1 to 4096"),
        (Als { iterations: 0, ..Als::default() }, "iterations = 0"),
        (Als { regularization: f32::NAN, ..Als::default() }, "regularization = NaN"),
        (Als { unobserved_weight: -1.0, ..Als::default() }, "unobserved_weight = -1"),
        (Als { regularization_exponent: 9.0, ..Als::default() }, "regularization_exponent = 9"),
    ] {
        let message = fit(als);
        assert!(message.contains(expected), "{message}");
    }
    let nothing = Interactions::from_triplets(3, 4, []).unwrap();
    let error = Als::default().fit(&nothing, &mut keep_going).unwrap_err();
    assert_eq!(error, ModelError::Empty { users: 3, items: 4 });
    // Without regularisation, 20 users cannot pin down 64 components.
    let message = fit(Als { rank: 64, regularization: 0.0, ..Als::default() });
    assert!(message.contains("singular") && message.contains("raise `regularization`"), "{message}");
}
