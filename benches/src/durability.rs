//! Kills the server at random moments under load while a client journals every acknowledgement; at the end, the log
//! exported by the product itself must hold each acknowledged event exactly once.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::client::{Connection, post};
use crate::ingest::event;
use crate::project::Size;
use crate::server::{Server, tastemaker};

/// `durability`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary to measure
    #[arg(long)]
    binary: PathBuf,
    /// Where the project goes; emptied first
    #[arg(long)]
    scratch: PathBuf,
    /// How many times the server is killed
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const PROJECT_FILE: &str = "[project]\nname = \"durability\"\n\n[events]\nclick = { positive = true }\n";
const SIZE: Size = Size { items: 1_000, users: 1_000, events_per_user: 0, rank: 0 };

/// Runs the test.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let project = args.scratch.join("durability");
    let _ = fs::remove_dir_all(&project);
    fs::create_dir_all(&project)?;
    fs::write(project.join("tastemaker.toml"), PROJECT_FILE)?;
    let mut rng = SmallRng::seed_from_u64(args.seed);
    let mut acknowledged: Vec<String> = Vec::new();
    let mut unanswered: Vec<String> = Vec::new();
    for round in 0..args.kills {
        let server = Server::start(&args.binary, &project).await?;
        let moment = Duration::from_micros(rng.random_range(1_000..400_000));
        // What was in flight at the last kill is sent again, as a client that retries would.
        let retries = std::mem::take(&mut unanswered);
        let writers = (0..args.clients).map(|client| {
            let retry = retries.iter().skip(client).step_by(args.clients).cloned().collect();
            tokio::task::spawn(write(server.address, round, client, retry))
        });
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(moment).await;
        server.kill()?;
        for writer in writers {
            let (mut acked, mut lost) = writer.await??;
            acknowledged.append(&mut acked);
            unanswered.append(&mut lost);
        }
        println!(
            "kill {:>3} after {:>6.1} ms: {} acknowledged so far",
            round + 1,
            moment.as_secs_f64() * 1e3,
            acknowledged.len()
        );
    }
    let stored = exported_ids(&args.binary, &project)?;
    let missing = acknowledged.iter().filter(|id| !stored.contains_key(*id)).count();
    let repeated = stored.values().filter(|count| **count != 1).count();
    println!(
        "{} kills: {} events acknowledged, {} stored; {missing} lost, {repeated} stored more than once",
        args.kills,
        acknowledged.len(),
        stored.len()
    );
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged, so nothing was tested");
    ensure!(missing == 0 && repeated == 0, "acknowledged events were lost or repeated");
    Ok(())
}

/// Writes events, in requests of 1 to 20, until the server is gone. Returns ids that were acknowledged, and those that
/// were sent without an answer.
async fn write(
    address: std::net::SocketAddr,
    round: u32,
    client: usize,
    mut retry: Vec<String>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut connection = Connection::new(address);
    let mut acknowledged = Vec::new();
    let limit = Instant::now() + Duration::from_secs(30);
    let mut number = 0u64;
    while Instant::now() < limit {
        let fresh = 1 + (number % 20);
        let mut ids: Vec<String> = retry.split_off(retry.len().saturating_sub(50));
        ids.extend((0..fresh).map(|at| format!("{round}-{client}-{number}-{at}")));
        number += 1;
        let body: Vec<String> = ids.iter().map(|id| event(id, number, SIZE)).collect();
        let request = post("/v1/events", &format!(r#"{{"events":[{}]}}"#, body.join(",")));
        match connection.send(&request).await {
            Ok(answer) => {
                ensure!(answer.status == 200, "status {}: {}", answer.status, String::from_utf8_lossy(answer.body));
                acknowledged.append(&mut ids);
            }
            Err(_) => {
                ids.append(&mut retry);
                return Ok((acknowledged, ids));
            }
        }
    }
    Ok((acknowledged, retry))
}

/// How often each event id is in the log, by the product's own export.
fn exported_ids(binary: &Path, project: &Path) -> anyhow::Result<HashMap<String, u32>> {
    tastemaker(binary, project, &["export", "events", "--out", "exported", "--format", "jsonl"])?;
    let mut ids = HashMap::new();
    for entry in fs::read_dir(project.join("exported"))? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let id = row["event_id"].as_str().context("an exported event has no id")?;
            *ids.entry(id.to_owned()).or_default() += 1;
        }
    }
    Ok(ids)
}
