//! Time and memory of implicit ALS on synthetic heavy-tailed interactions; prints one CSV line.
//!
//! `cargo run --release -p tastemaker-models --example synthetic -- interactions=10000000 rank=64`
//!
//! A user's number of interactions is log-normal (mean 25, σ 1), items are drawn by Zipf's law (exponent 1), there is
//! one item for every 250 interactions, and a pair drawn twice adds up. One run measures one size, so that the peak
//! memory is that size's own.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use tastemaker_models::{Als, Factorizer, Interactions, Side};

const MEAN_HISTORY: f64 = 25.0;
const SIGMA: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut wanted, mut als) = (1_000_000usize, Als { iterations: 1, ..Als::default() });
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("interactions", value)) => wanted = value.parse()?,
            Some(("rank", value)) => als.rank = value.parse()?,
            Some(("threads", value)) => als.threads = value.parse()?,
            Some(("iterations", value)) => als.iterations = value.parse()?,
            _ => return Err(format!("`{argument}` is not interactions=, rank=, threads= or iterations=").into()),
        }
    }

    let started = Instant::now();
    let users = (wanted as f64 / MEAN_HISTORY) as usize + 1;
    let items = wanted / 250 + 100;
    let data = Interactions::from_triplets(users, items, Draws::new(wanted, users, items)?)?;
    let building = started.elapsed().as_secs_f64();
    let resident_after_build = memory("VmRSS")?;

    let mut halves = [0.0; 2];
    let mut before = 0.0;
    let fitted = als.fit(&data, &mut |state| {
        let now = state.elapsed.as_secs_f64();
        halves[usize::from(state.solved == Side::User)] += now - before;
        before = now;
        ControlFlow::Continue(())
    })?;
    let [item_half, user_half] = halves.map(|seconds| seconds / als.iterations as f64);
    // interactions,users,items,rank,build_s,iteration_s,item_half_s,user_half_s,data_mb,peak_mb
    println!(
        "{},{users},{items},{},{building:.2},{:.3},{item_half:.3},{user_half:.3},{:.0},{:.0}",
        data.len(),
        fitted.item_factors.cols(),
        item_half + user_half,
        resident_after_build,
        memory("VmHWM")?,
    );
    Ok(())
}

/// A stream of (user, item, 1) that ends after `left` draws.
struct Draws {
    rng: StdRng,
    lengths: LogNormal<f64>,
    ranks: Zipf<f64>,
    users: usize,
    items: usize,
    user: usize,
    left_of_user: usize,
    left: usize,
}

impl Draws {
    fn new(left: usize, users: usize, items: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            rng: StdRng::seed_from_u64(20),
            lengths: LogNormal::new(MEAN_HISTORY.ln() - SIGMA * SIGMA / 2.0, SIGMA)?,
            ranks: Zipf::new(items as f64, 1.0)?,
            users,
            items,
            user: 0,
            left_of_user: 0,
            left,
        })
    }
}

impl Iterator for Draws {
    type Item = (u32, u32, f32);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        while self.left_of_user == 0 {
            self.user = self.rng.random_range(0..self.users);
            self.left_of_user = self.lengths.sample(&mut self.rng) as usize;
        }
        self.left_of_user -= 1;
        // Popularity must not follow the row number, or neighbours in memory would be popular together.
        let rank = self.ranks.sample(&mut self.rng) as usize;
        let item = rank.wrapping_mul(0x9E37_79B1) % self.items;
        Some((self.user as u32, item as u32, 1.0))
    }
}

/// Megabytes, from the kernel's account of this process.
fn memory(field: &str) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kilobytes / 1000.0)
}
