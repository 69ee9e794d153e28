//! A synthetic shop: items in categories with prices, and users whose tastes lean to a few categories. Item popularity
//! is heavy-tailed (Zipf), and every item has at least one event, so that every item has an embedding.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

use crate::server::tastemaker;

/// How large the shop is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Size {
    /// Items in the catalog
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,
    /// Users with a history
    #[arg(long, default_value_t = 100_000)]
    pub(crate) users: u64,
    /// Events of a user, on average
    #[arg(long, default_value_t = 40)]
    pub(crate) events_per_user: u64,
    /// Dimensions of the embeddings
    #[arg(long, default_value_t = 64)]
    pub(crate) rank: u32,
}

/// How many categories the shop has: `c0`, `c1`, ….
pub(crate) const CATEGORIES: u64 = 50;

const PROJECT_FILE: &str = r#"[project]
name = "bench"

[items.attributes]
category = "tag"
price = "number"
available = "bool"

[events]
impression = {}
click = { positive = true, weight = 1.0 }
purchase = { positive = true, weight = 5.0, conversion = true }

[recommend]
candidates = 500
eligibility = "available"
"#;

/// Makes the project, imports it and trains it, unless that was done before by the same settings. Returns its folder.
pub(crate) fn prepare(binary: &Path, scratch: &Path, size: Size) -> anyhow::Result<PathBuf> {
    let dir = scratch.join(format!("shop-{}-{}-{}-{}", size.items, size.users, size.events_per_user, size.rank));
    let done = dir.join("prepared");
    if done.exists() {
        return Ok(dir);
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("tastemaker.toml"), PROJECT_FILE)?;
    write_items(&dir.join("items.csv"), size).context("items.csv")?;
    write_events(&dir.join("events.csv"), size).context("events.csv")?;
    let rank = format!("embeddings.rank={}", size.rank);
    tastemaker(binary, &dir, &["import", "items", "items.csv"])?;
    tastemaker(binary, &dir, &["import", "events", "events.csv"])?;
    tastemaker(binary, &dir, &["train", "--no-holdout", "--set", &rank, "--set", "embeddings.iterations=3"])?;
    fs::write(done, "")?;
    Ok(dir)
}

fn write_items(path: &Path, size: Size) -> anyhow::Result<()> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "id,category,price,available")?;
    for item in 0..size.items {
        let price = (rng.random_range(0.0f64..6.0)).exp();
        writeln!(out, "i{item},c{},{price:.2},{}", item % CATEGORIES, rng.random_bool(0.9))?;
    }
    Ok(out.flush()?)
}

fn write_events(path: &Path, size: Size) -> anyhow::Result<()> {
    const TASTES: usize = 4;
    let mut rng = SmallRng::seed_from_u64(2);
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "user,item,timestamp,type")?;
    let total = size.users * size.events_per_user;
    let per_category = (size.items / CATEGORIES).max(1);
    let popularity = Zipf::new(per_category as f64, 0.9)?;
    let mut once: Vec<u64> = (0..size.items).collect();
    once.shuffle(&mut rng);
    for number in 0..total {
        let user = number % size.users;
        let tastes: [u64; TASTES] = std::array::from_fn(|t| (user * 7 + t as u64 * 13 + user / 11) % CATEGORIES);
        let item = match once.get(number as usize) {
            Some(item) => *item,
            None => {
                let category = tastes[rng.random_range(0..TASTES)];
                (popularity.sample(&mut rng) as u64 - 1).min(per_category - 1) * CATEGORIES + category
            }
        };
        let kind = if rng.random_bool(0.1) { "purchase" } else { "click" };
        writeln!(out, "u{user},i{item},{},{kind}", 1_780_000_000 + number)?;
    }
    Ok(out.flush()?)
}
