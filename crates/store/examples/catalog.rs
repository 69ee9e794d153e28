//! Prints what the item catalog costs: memory, bulk load, single updates, filters and gathers, over a million items.
//! `cargo run --release -p tastemaker-store --example catalog [ITEMS]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tastemaker_expr::{Expr, Params};
use tastemaker_store::{Catalog, ItemChange};
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, EntityUpsert, Timestamp, UpsertMode, Value};

/// The median of `runs` timings.
fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
}

fn item(n: usize, rng: &mut SmallRng) -> EntityUpsert {
    let attributes = Attributes::from([
        ("category".to_owned(), Value::Text(format!("category {}", rng.random_range(0..20)))),
        ("brand".to_owned(), Value::Text(format!("brand {}", rng.random_range(0..2_000)))),
        ("price".to_owned(), Value::Number(f64::from(rng.random_range(100..50_000)) / 100.0)),
        ("available".to_owned(), Value::Bool(rng.random_bool(0.9))),
    ]);
    EntityUpsert { id: format!("item-{n}"), attributes, mode: UpsertMode::Replace, timestamp: Timestamp::EPOCH }
}

#[allow(clippy::print_stdout, clippy::unwrap_used)]
fn main() {
    let items: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let fields = [
        ("category", AttributeType::Tag),
        ("brand", AttributeType::Tag),
        ("price", AttributeType::Number),
        ("available", AttributeType::Bool),
    ];
    let catalog = Catalog::new(AttributeSchema::new(fields.map(|(name, kind)| (name.to_owned(), kind))));
    let mut rng = SmallRng::seed_from_u64(1);
    let before = resident_bytes();

    let mut loading = Duration::ZERO;
    for from in (0..items).step_by(10_000) {
        let batch: Vec<EntityUpsert> = (from..items.min(from + 10_000)).map(|n| item(n, &mut rng)).collect();
        let changes: Vec<_> = batch.iter().map(ItemChange::Upsert).collect();
        let started = Instant::now();
        catalog.apply(&changes);
        loading += started.elapsed();
    }
    let snapshot = catalog.snapshot();
    println!("{items} items with 4 attributes, loaded in batches of 10,000: {loading:.2?}");
    println!("  attributes: {} bytes an item", snapshot.bytes() / items);
    println!("  all memory, ids and rows by id among it: {} bytes an item", (resident_bytes() - before) / items);
    let publish = median(201, || drop(catalog.apply(&[ItemChange::Seen { id: "new", timestamp: Timestamp::EPOCH }])));
    println!("  a change that changes nothing: {publish:.2?}");

    let mut change = |merge: bool, count: usize| {
        let mut times: Vec<Duration> = (0..201)
            .map(|_| {
                let mut changed = || {
                    let mut changed = item(rng.random_range(0..items), &mut rng);
                    if merge {
                        changed.mode = UpsertMode::Merge;
                        changed.attributes.retain(|name, _| name == "price");
                    }
                    changed
                };
                let changed: Vec<_> = (0..count).map(|_| changed()).collect();
                let started = Instant::now();
                catalog.apply(&changed.iter().map(ItemChange::Upsert).collect::<Vec<_>>());
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[100]
    };
    println!("  one item's price: {:.2?}", change(true, 1));
    println!("  one item, all attributes: {:.2?}", change(false, 1));
    println!("  100 items, all attributes: {:.2?}", change(false, 100));

    let params = Params::at(Timestamp::EPOCH).with("max", 200.0);
    let sql = "category = 'category 7' AND available AND price < :max";
    let compile = median(2_001, || drop(black_box(Expr::compile(sql, catalog.schema(), &params).unwrap())));
    println!("filter {sql}");
    println!("  compiled: {compile:.2?}");
    let filter = Expr::compile(sql, catalog.schema(), &params).unwrap();
    let snapshot = catalog.snapshot();
    let mut max = 200.0;
    let cold = median(11, || {
        max += 0.001;
        let params = Params::at(Timestamp::EPOCH).with("max", max);
        let fresh = Expr::compile(sql, catalog.schema(), &params).unwrap();
        black_box(snapshot.bitmap(&fresh).unwrap());
    });
    let found = snapshot.bitmap(&filter).unwrap().count();
    println!("  all rows, cold: {cold:.2?} ({found} found)");
    println!("  all rows, warm: {:.2?}", median(2_001, || drop(black_box(snapshot.bitmap(&filter).unwrap()))));
    let mut times = Vec::new();
    for round in 0..101 {
        let mut changed = item(round * 7 % items, &mut SmallRng::seed_from_u64(round as u64));
        changed.timestamp = Timestamp::from_micros(1);
        catalog.apply(&[ItemChange::Upsert(&changed)]);
        let snapshot = catalog.snapshot();
        let started = Instant::now();
        black_box(snapshot.bitmap(&filter).unwrap());
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("  all rows, after one item changed: {:.2?}", times[50]);

    let mut rng = SmallRng::seed_from_u64(2);
    let rows: Vec<u32> = (0..500).map(|_| rng.random_range(0..items as u32)).collect();
    let batch = snapshot.gather(&rows);
    println!("  500 gathered rows: {:.2?}", median(2_001, || drop(black_box(filter.filter(&batch).unwrap()))));
    let boost = Expr::compile("1 + 0.2 * (price < 20) + ln(1 + price) / 10", catalog.schema(), &params).unwrap();
    println!("  boost over 500 rows: {:.2?}", median(2_001, || drop(black_box(boost.evaluate(&batch).unwrap()))));
    println!("gather of 500 random rows");
    println!("  4 attributes, the same rows: {:.2?}", median(501, || drop(black_box(snapshot.gather(&rows)))));
    let cold = median(501, || {
        let rows: Vec<u32> = (0..500).map(|_| rng.random_range(0..items as u32)).collect();
        drop(black_box(snapshot.gather(&rows)));
    });
    println!("  4 attributes, other rows each time: {cold:.2?}");
}
