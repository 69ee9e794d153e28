//! Measures a whole Tastemaker from outside: makes a synthetic project, starts the real binary on it, and sends it an
//! open-loop load, in which latency counts from the moment a request was due and every status is counted.

#![allow(clippy::print_stdout, reason = "a command-line program prints its figures")]

mod client;
mod ingest;
mod load;
mod project;
mod requests;
mod server;
mod serving;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Open-loop measurements of a running Tastemaker")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Recommendations: latency at fixed rates, and the highest rate that keeps p99 under 50 ms
    Serving(serving::Args),
    /// Synced ingest, and what it does to the latency of recommendations
    Ingest(ingest::Args),
    /// Bodies from a file against any server, as JSON: for comparing with peers
    Requests(requests::Args),
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Cli::parse().bench {
        Bench::Serving(args) => runtime.block_on(serving::run(&args)),
        Bench::Ingest(args) => runtime.block_on(ingest::run(&args)),
        Bench::Requests(args) => runtime.block_on(requests::run(&args)),
    }
}
