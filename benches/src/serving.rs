//! Recommendations under load: latency at fixed rates, then the highest rate that keeps p99 under 50 ms.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use crate::client::post;
use crate::load::{self, Outcome, Requests, Stream};
use crate::project::{self, CATEGORIES, Size};
use crate::server::Server;

/// `serving`.
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
    /// Rates to measure, requests a second
    #[arg(long, value_delimiter = ',', default_values_t = [100.0, 500.0])]
    rates: Vec<f64>,
    /// Seconds at each rate
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Do not look for the highest rate
    #[arg(long)]
    no_search: bool,
}

#[derive(Serialize)]
struct Figures {
    items: u64,
    users: u64,
    rank: u32,
    start_up_seconds: f64,
    resident_mib: Option<f64>,
    at_rates: Vec<Outcome>,
    highest_rate_under_50_ms: Option<Outcome>,
}

/// A stream of recommendation requests of random users, half of them with a filter of their own.
pub(crate) fn recommendations(rate: f64, users: u64) -> Stream {
    let requests: Requests = Rc::new(move |number| {
        let user = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % users;
        let filter = match number % 4 {
            0 => format!(r#","filter":"category = 'c{}'""#, (number / 4) % CATEGORIES),
            1 => r#","filter":"price < 50""#.to_owned(),
            _ => String::new(),
        };
        post("/v1/recommendations", &format!(r#"{{"user_id":"u{user}","limit":20{filter}}}"#))
    });
    Stream { name: "recommendations", rate, connections: 64, requests }
}

/// Runs the benchmark.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let project = project::prepare(&args.binary, &args.scratch, args.size)?;
    let server = Server::start(&args.binary, &project).await?;
    println!("ready after {:.1} s", server.start_up.as_secs_f64());
    let seconds = Duration::from_secs(args.seconds);
    let measure = async |rate: f64| -> anyhow::Result<Outcome> {
        let stream = recommendations(rate, args.size.users);
        let mut outcomes = load::run(server.address, &[stream], Duration::from_secs(5), seconds).await?;
        load::print(&outcomes);
        Ok(outcomes.remove(0))
    };
    let mut at_rates = Vec::new();
    for rate in &args.rates {
        at_rates.push(measure(*rate).await?);
    }
    let mut highest = None;
    let mut rate = args.rates.last().copied().unwrap_or(500.0);
    let mut searching = !args.no_search;
    while searching {
        rate *= 1.25;
        let outcome = measure(rate).await?;
        searching = outcome.p99_ms < 50.0 && outcome.all_ok();
        if searching {
            highest = Some(outcome);
        }
    }
    let figures = Figures {
        items: args.size.items,
        users: args.size.users,
        rank: args.size.rank,
        start_up_seconds: server.start_up.as_secs_f64(),
        resident_mib: server.resident_mib(),
        at_rates,
        highest_rate_under_50_ms: highest,
    };
    println!("resident memory: {:.0} MiB", figures.resident_mib.unwrap_or(f64::NAN));
    std::fs::write(&args.out, serde_json::to_string_pretty(&figures)?)?;
    ensure!(figures.at_rates.iter().all(Outcome::all_ok), "not every answer was a 200");
    Ok(())
}
