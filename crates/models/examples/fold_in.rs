//! Time of one exact fold-in at request time, by rank and length of history; random factors, one thread.
//!
//! `cargo run --release -p tastemaker-models --example fold_in`

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tastemaker_models::{Als, Factorizer, Interactions};

const ITEMS: u32 = 100_000;
const ROUNDS: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = StdRng::seed_from_u64(3);
    let triplets: Vec<_> =
        (0..400_000).map(|_| (rng.random_range(0..20_000), rng.random_range(0..ITEMS), 1.0)).collect();
    let data = Interactions::from_triplets(20_000, ITEMS as usize, triplets)?;
    for rank in [64, 128, 256] {
        let als = Als { rank, iterations: 1, ..Als::default() };
        let model = als.fit(&data, &mut |_| ControlFlow::Continue(()))?;
        for length in [1, 10, 30, 100, 200] {
            let histories: Vec<Vec<(u32, f32)>> =
                (0..ROUNDS).map(|_| (0..length).map(|_| (rng.random_range(0..ITEMS), 1.0)).collect()).collect();
            let mut times = Vec::with_capacity(ROUNDS);
            for history in &histories {
                let started = Instant::now();
                black_box(model.encoder.user_vector(&model.item_factors, history)?);
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            let (median, high) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
            println!("rank {rank}, {length} items: p50 {median:.1} µs, p99 {high:.1} µs");
        }
    }
    Ok(())
}
