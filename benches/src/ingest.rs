//! Synced ingest: single events, then batches, with recommendations beside them, against recommendations alone.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use serde::Serialize;

use crate::client::post;
use crate::load::{self, Outcome, Requests, Stream};
use crate::project::{self, Size};
use crate::server::Server;
use crate::serving::recommendations;

/// `ingest`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary to measure
    #[arg(long)]
    binary: PathBuf,
    /// Where projects and figures go
    #[arg(long)]
    scratch: PathBuf,
    /// The figures as JSON
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    size: Size,
    /// Recommendations a second, all the while
    #[arg(long, default_value_t = 100.0)]
    recommendations: f64,
    /// Single events a second
    #[arg(long, default_value_t = 5_000.0)]
    singles: f64,
    /// Events a second in batches
    #[arg(long, default_value_t = 100_000.0)]
    batched: f64,
    /// Events in a batch
    #[arg(long, default_value_t = 1_000)]
    batch: u64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Serialize)]
struct Figures {
    recommendations_alone: Vec<Outcome>,
    beside_single_events: Vec<Outcome>,
    beside_batches: Vec<Outcome>,
    p99_ratio_singles: f64,
    p99_ratio_batches: f64,
}

/// Events with ids that no other run uses.
pub(crate) fn events(rate: f64, batch: u64, size: Size) -> Stream {
    let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let requests: Requests = Rc::new(move |number| {
        let body: Vec<String> =
            (0..batch).map(|at| event(&format!("{run}-{number}-{at}"), number * batch + at, size)).collect();
        post("/v1/events", &format!(r#"{{"events":[{}]}}"#, body.join(",")))
    });
    let name = if batch == 1 { "single events" } else { "event batches" };
    let connections = if batch == 1 { 128 } else { 8 };
    Stream { name, rate: rate / batch as f64, connections, requests }
}

/// One click as JSON.
pub(crate) fn event(id: &str, number: u64, size: Size) -> String {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (user, item) = (mixed % size.users, (mixed >> 20) % size.items);
    format!(
        r#"{{"event_id":"{id}","type":"click","user_id":"u{user}","item_id":"i{item}","timestamp":{}}}"#,
        1_790_000_000 + number / 1000
    )
}

/// Runs the benchmark.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let project = project::prepare(&args.binary, &args.scratch, args.size)?;
    let server = Server::start(&args.binary, &project).await?;
    let measure = async |extra: Option<Stream>| -> anyhow::Result<Vec<Outcome>> {
        let mut streams = vec![recommendations(args.recommendations, args.size.users)];
        streams.extend(extra);
        let (warm_up, seconds) = (Duration::from_secs(3), Duration::from_secs(args.seconds));
        let outcomes = load::run(server.address, &streams, warm_up, seconds).await?;
        load::print(&outcomes);
        Ok(outcomes)
    };
    let alone = measure(None).await?;
    let singles = measure(Some(events(args.singles, 1, args.size))).await?;
    let batches = measure(Some(events(args.batched, args.batch, args.size))).await?;
    let figures = Figures {
        p99_ratio_singles: singles[0].p99_ms / alone[0].p99_ms,
        p99_ratio_batches: batches[0].p99_ms / alone[0].p99_ms,
        recommendations_alone: alone,
        beside_single_events: singles,
        beside_batches: batches,
    };
    println!(
        "p99 of recommendations beside single events {:.2}×, beside batches {:.2}× of idle",
        figures.p99_ratio_singles, figures.p99_ratio_batches
    );
    std::fs::write(&args.out, serde_json::to_string_pretty(&figures)?)?;
    let all = [&figures.recommendations_alone, &figures.beside_single_events, &figures.beside_batches];
    ensure!(all.into_iter().flatten().all(Outcome::all_ok), "not every answer was a 200");
    Ok(())
}
