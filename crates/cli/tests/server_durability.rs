//! `kill -9` at random moments under load, while the clients keep a journal of what was acknowledged: afterwards each
//! acknowledged event is in the log exactly once. `TASTEMAKER_KILLS` sets the number of kills.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tastemaker_log::LogReader;
use tastemaker_testkit::{Client, Project, ServerProcess};
use tastemaker_types::{Position, Record};

const WORKERS: usize = 8;

/// What the clients know.
#[derive(Default)]
struct Journal {
    acknowledged: HashSet<String>,
    /// Sent without an answer; sent again in the next round, as a careful client does.
    unanswered: Vec<Vec<String>>,
}

fn body(ids: &[String]) -> Value {
    let event = |id: &String| {
        let number: usize = id.rsplit('-').next().unwrap().parse().unwrap();
        json!({"event_id": id, "type": "click", "user_id": format!("u{}", number % 50), "item_id": format!("i{}", number % 200)})
    };
    json!({"events": ids.iter().map(event).collect::<Vec<_>>()})
}

/// Sends one request; notes its events as acknowledged, or as unanswered. False once the server is gone.
async fn send(client: &Client, journal: &Mutex<Journal>, ids: Vec<String>) -> bool {
    let sent = Some(("application/json", body(&ids).to_string().into()));
    match client.try_send(hyper::Method::POST, "/v1/events", sent).await {
        Ok(answer) => {
            let answer = answer.expect(200).json();
            assert_eq!(answer["refused"], 0, "{answer}");
            journal.lock().unwrap().acknowledged.extend(ids);
            true
        }
        Err(_) => {
            journal.lock().unwrap().unanswered.push(ids);
            false
        }
    }
}

async fn load(client: Client, journal: Arc<Mutex<Journal>>, stop: Arc<AtomicBool>, round: usize, worker: usize) {
    for request in 0.. {
        // Single events, small batches and large ones.
        let size = [1, 1, 1, 20, 500][request % 5];
        let ids = (0..size).map(|n| format!("{round}-{worker}-{}", request * 1_000 + n)).collect();
        if stop.load(Ordering::Relaxed) || !send(&client, &journal, ids).await {
            return;
        }
    }
}

/// How often each event is in the log.
fn counts(log: &Path) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for entry in LogReader::open(log).unwrap().read_from(Position(0)) {
        if let (_, Record::Event(event)) = entry.unwrap() {
            *counts.entry(event.event_id).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_is_there_once_after_kills() {
    let kills: usize = std::env::var("TASTEMAKER_KILLS").map_or(5, |n| n.parse().unwrap());
    let project = Project::new("[storage]\nsegment_size = \"1MiB\"\n");
    let output = project.path().join("server.log");
    let binary = Path::new(env!("CARGO_BIN_EXE_tastemaker"));
    let journal = Arc::new(Mutex::new(Journal::default()));
    let mut random = rand::rngs::SmallRng::seed_from_u64(20_260_102);
    for round in 0..kills {
        let mut server = ServerProcess::start(binary, &project.file(), &output).await;
        let client = server.client();
        let again = std::mem::take(&mut journal.lock().unwrap().unanswered);
        for ids in again {
            assert!(send(&client, &journal, ids).await, "the server is gone before it was killed");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| tokio::spawn(load(client.clone(), Arc::clone(&journal), Arc::clone(&stop), round, worker)))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.await.unwrap();
        }
    }
    // The last start must come up as well, and know every acknowledged event.
    let mut server = ServerProcess::start(binary, &project.file(), &output).await;
    let acknowledged = std::mem::take(&mut journal.lock().unwrap().acknowledged);
    let ids: Vec<String> = acknowledged.iter().cloned().collect();
    for chunk in ids.chunks(5_000) {
        let answer = server.client().post("/v1/events", &body(chunk)).await.expect(200).json();
        assert_eq!(answer["duplicates"], chunk.len(), "an acknowledged event was lost");
    }
    server.terminate();
    assert!(server.wait(Duration::from_secs(30)).await.success());

    let counts = counts(&project.path().join("data/log"));
    for id in &acknowledged {
        assert_eq!(counts.get(id), Some(&1), "event {id}");
    }
    assert!(counts.values().all(|count| *count == 1), "an event is in the log twice");
    println!("{kills} kills, {} events acknowledged, each there once; {} in the log", acknowledged.len(), counts.len());
    assert!(acknowledged.len() > kills, "the load was no load");
}
