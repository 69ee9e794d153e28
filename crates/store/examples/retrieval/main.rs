//! Measures retrieval: recall and queries a second of the graph, and the plans and times of filtered searches. Driven by
//! `benches/retrieval/bench.py`, which runs other libraries on the same vectors; prints JSON.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod data;
mod measure;

use std::{collections::HashMap, path::PathBuf, time::Instant};

use serde_json::{Value, json};
use tastemaker_store::index::{BuildOptions, FlatIndex, PlannedIndex, SearchParams, VectorIndex};

const USAGE: &str = "\
usage: retrieval generate DIR [--items N] [--queries N] [--dim N]   write items.f32, queries.f32 and the true neighbours, truth.u32
       retrieval build    DIR [--neighbours N] [--ef-construction N] [--threads N]   build DIR/index.hnsw
       retrieval speed    DIR [--recall R]      load the index; smallest ef that reaches the recall, queries a second
       retrieval filters  DIR [--ef N]          plans, recall and times at falling shares of passing rows";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(command), Some(dir)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let mut flags = HashMap::new();
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        flags.insert(name, value);
    }
    let number = |name: &str, default: usize| flags.get(name).map_or(default, |value| value.parse().expect(name));
    let target = flags.get("--recall").map_or(0.97, |value| value.parse().expect("--recall"));
    let path = dir.join("index.hnsw");
    let answer = match command.as_str() {
        "generate" => {
            let (items, queries, dim) = (number("--items", 1_000_000), number("--queries", 1000), number("--dim", 64));
            let data = data::generate(items, queries, dim);
            data.write(&dir);
            json!({ "items": items, "queries": queries, "dim": dim })
        }
        "build" => {
            let data = data::Data::read(&dir);
            let defaults = BuildOptions::default();
            let options = BuildOptions {
                neighbours: number("--neighbours", defaults.neighbours),
                ef_construction: number("--ef-construction", defaults.ef_construction),
                threads: number("--threads", 0),
                ..defaults
            };
            let start = Instant::now();
            let index = PlannedIndex::build(data.dim, data.items, None, &options).unwrap();
            let build = start.elapsed().as_secs_f64();
            index.save(&path).unwrap();
            json!({ "build_seconds": build, "file_bytes": std::fs::metadata(&path).unwrap().len() })
        }
        "speed" => {
            let data = data::Data::read(&dir);
            let start = Instant::now();
            let index = PlannedIndex::load(&path, None).unwrap();
            let load = start.elapsed().as_secs_f64();
            let mut answer = measure::speed(&index, &data, target);
            answer["load_seconds"] = json!(load);
            answer["memory_bytes"] = measure::resident_bytes();
            answer
        }
        "filters" => {
            let data = data::Data::read(&dir);
            let index = PlannedIndex::load(&path, None).unwrap();
            // The index's own choice: the smallest for the recall leaves the fifty queries of each filter no margin.
            Value::from(measure::filters(&index, &data, number("--ef", BuildOptions::default().ef)))
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    };
    println!("{answer}");
}

/// The true neighbours of every query, ten each, by the exact index.
pub(crate) fn truth(index: &FlatIndex, queries: &[f32]) -> Vec<u32> {
    let exact = SearchParams { exact: true, ..SearchParams::default() };
    queries
        .chunks_exact(index.dim())
        .flat_map(|query| index.search(query, 10, None, &exact).unwrap().hits)
        .map(|hit| hit.row)
        .collect()
}
