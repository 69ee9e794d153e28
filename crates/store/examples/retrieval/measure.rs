//! The measurements: the smallest `ef` for a recall, queries a second on one thread, and the same under filters.

use std::{collections::BTreeMap, time::Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tastemaker_store::{
    Bitmap,
    index::{Hits, SearchParams, VectorIndex},
};

use crate::data::Data;

/// The smallest `ef` whose recall@10 is at least `target`, and that recall.
pub(crate) fn smallest_ef(index: &impl VectorIndex, data: &Data, target: f64) -> (usize, f64) {
    let (mut low, mut high) = (9, 20);
    let mut reached = recall(index, data, high);
    while reached < target && high < 20_000 {
        low = high;
        high *= 2;
        reached = recall(index, data, high);
    }
    while high - low > 1 {
        let middle = (low + high) / 2;
        let recall = recall(index, data, middle);
        if recall >= target {
            (high, reached) = (middle, recall);
        } else {
            low = middle;
        }
    }
    (high, reached)
}

fn recall(index: &impl VectorIndex, data: &Data, ef: usize) -> f64 {
    let params = SearchParams { ef: Some(ef), exact: false };
    let found: usize = data
        .queries
        .chunks_exact(data.dim)
        .zip(data.truth.chunks_exact(10))
        .map(|(query, truth)| overlap(&index.search(query, 10, None, &params).unwrap(), truth))
        .sum();
    found as f64 / data.truth.len() as f64
}

fn overlap(found: &Hits, truth: &[u32]) -> usize {
    found.hits.iter().take(truth.len()).filter(|hit| truth.contains(&hit.row)).count()
}

/// The search that reaches the recall, timed; and the one for 500 candidates that serving does.
pub(crate) fn speed(index: &impl VectorIndex, data: &Data, target: f64) -> Value {
    let (ef, recall) = smallest_ef(index, data, target);
    let timed = |k: usize, ef: usize| {
        let params = SearchParams { ef: Some(ef), exact: false };
        let (mut best, mut best_processor) = (f64::INFINITY, f64::INFINITY);
        let mut latencies = Vec::new();
        let mut scored = 0;
        for _ in 0..5 {
            let (start, processor) = (Instant::now(), processor_seconds());
            latencies.clear();
            scored = 0;
            for query in data.queries.chunks_exact(data.dim) {
                let one = Instant::now();
                scored += index.search(query, k, None, &params).unwrap().scored;
                latencies.push(one.elapsed().as_secs_f64());
            }
            best = best.min(start.elapsed().as_secs_f64());
            best_processor = best_processor.min(processor_seconds() - processor);
        }
        latencies.sort_by(f64::total_cmp);
        let count = latencies.len();
        json!({
            "k": k, "ef": ef, "queries_per_second": count as f64 / best,
            "queries_per_processor_second": count as f64 / best_processor, "scored_per_query": scored / count,
            "p50_ms": latencies[count / 2] * 1e3, "p99_ms": latencies[count * 99 / 100] * 1e3,
        })
    };
    json!({ "recall_at_10": recall, "top_10": timed(10, ef), "top_500": timed(500, 500) })
}

/// Searches among falling shares of the rows: chosen at random, by taste near the query, and by taste far from it.
pub(crate) fn filters(index: &impl VectorIndex, data: &Data, ef: usize) -> Vec<Value> {
    let tastes = data.item_tastes.iter().max().map_or(1, |&last| last as usize + 1);
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); tastes];
    for (row, &taste) in data.item_tastes.iter().enumerate() {
        members[taste as usize].push(row as u32);
    }
    let mut table = Vec::new();
    for share in [1.0, 0.9, 0.5, 0.2, 0.05, 0.005, 0.0005] {
        for kind in ["random", "near", "far"] {
            if share == 1.0 && kind != "random" {
                continue;
            }
            for k in [10, 500] {
                table.push(filtered(index, data, &members, share, kind, (k, ef.max(k))));
            }
        }
    }
    table
}

fn filtered(
    index: &impl VectorIndex,
    data: &Data,
    members: &[Vec<u32>],
    share: f64,
    kind: &str,
    (k, ef): (usize, usize),
) -> Value {
    let rows = data.item_tastes.len();
    let params = SearchParams { ef: Some(ef), exact: false };
    let exact = SearchParams { ef: None, exact: true };
    let mut rng = StdRng::seed_from_u64(7);
    let random = Bitmap::from_rows(rows, (0..rows as u32).filter(|_| rng.random_bool(share)));
    let wanted = (rows as f64 * share) as usize;
    let (mut found, mut truths, mut latencies) = (0, 0, Vec::new());
    let mut plans = BTreeMap::<&str, usize>::new();
    for (query, &taste) in data.queries.chunks_exact(data.dim).zip(&data.query_tastes).take(50) {
        let filter = match kind {
            "random" => random.clone(),
            _ => by_taste(members, rows, taste as usize, kind == "near", wanted),
        };
        let filter = (share < 1.0).then_some(&filter);
        let truth: Vec<u32> = index.search(query, 10, filter, &exact).unwrap().hits.iter().map(|hit| hit.row).collect();
        let mut hits = None;
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            hits = index.search(query, k, filter, &params).ok();
            best = best.min(start.elapsed().as_secs_f64());
        }
        latencies.push(best);
        let hits = hits.unwrap();
        *plans.entry(hits.plan.name()).or_default() += 1;
        found += overlap(&hits, &truth);
        truths += truth.len();
    }
    latencies.sort_by(f64::total_cmp);
    let count = latencies.len();
    json!({
        "passing": share, "filter": kind, "k": k, "ef": ef, "recall_at_10": found as f64 / truths.max(1) as f64,
        "p50_ms": latencies[count / 2] * 1e3, "p99_ms": latencies[count * 99 / 100] * 1e3, "plans": plans,
    })
}

/// The `wanted` items whose tastes come next after the query's own, or end before it.
fn by_taste(members: &[Vec<u32>], rows: usize, taste: usize, near: bool, wanted: usize) -> Bitmap {
    let tastes = members.len();
    let order =
        (0..tastes).map(|step| if near { (taste + step) % tastes } else { (taste + tastes - 1 - step) % tastes });
    Bitmap::from_rows(rows, order.flat_map(|of| &members[of]).copied().take(wanted))
}

/// Processor time of this thread so far: what a busy machine leaves comparable.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    status
        .split_whitespace()
        .next()
        .and_then(|nanoseconds| nanoseconds.parse::<f64>().ok())
        .map_or(f64::NAN, |ns| ns / 1e9)
}

/// Memory the process holds, file pages of the mapped index included.
pub(crate) fn resident_bytes() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    json!({ "anonymous": field("RssAnon:"), "file": field("RssFile:") })
}
