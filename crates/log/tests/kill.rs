//! A writer is killed with `kill -9` under load, again and again, while it journals what was acknowledged. Rounds:
//! `TASTEMAKER_KILL_ROUNDS` (10).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{event, open_with, read};
use tastemaker_log::{EventLog, LogOptions};
use tastemaker_types::Record;

const DIR: &str = "TASTEMAKER_KILL_DIR";
const ROUND: &str = "TASTEMAKER_KILL_ROUND";

fn options() -> LogOptions {
    // Small enough that segments end and ids are saved many times a round.
    LogOptions { segment_bytes: 50_000, memory_ids: 300, ..LogOptions::default() }
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("acknowledged")
}

/// Lines of `id position`; the last one may be cut.
fn acknowledged(dir: &Path) -> HashMap<String, usize> {
    let text = std::fs::read_to_string(journal(dir)).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| line.trim().split_once(' ').unwrap())
        .map(|(id, at)| (id.to_owned(), at.parse().unwrap()))
        .collect()
}

/// Not a test by itself: the process that is killed.
#[test]
#[ignore = "run by the next test"]
fn child() {
    let (dir, round) = (PathBuf::from(std::env::var(DIR).unwrap()), std::env::var(ROUND).unwrap());
    let known: Vec<String> = acknowledged(&dir).into_keys().collect();
    let journal = Mutex::new(std::fs::OpenOptions::new().append(true).create(true).open(journal(&dir)).unwrap());
    let log = EventLog::open(dir.join("log"), options(), Box::new(|_| {})).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (log, journal, round, known) = (&log, &journal, &round, &known);
            scope.spawn(move || {
                for n in 0.. {
                    let mut ids: Vec<String> = (0..1 + n % 9).map(|i| format!("{round}-{thread}-{n}-{i}")).collect();
                    // Now and then a client repeats what an earlier process acknowledged.
                    ids.extend(known.get(n * 31 % known.len().max(1)).cloned());
                    let outcome = log.append(ids.iter().map(event).collect()).unwrap();
                    let lines: String =
                        ids.iter().zip(&outcome).map(|(id, at)| format!("{id} {}\n", at.position)).collect();
                    journal.lock().unwrap().write_all(lines.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9_once_each() {
    let rounds: u64 = std::env::var("TASTEMAKER_KILL_ROUNDS").map_or(10, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let before = acknowledged(dir.path()).len();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while acknowledged(dir.path()).len() < before + 200 {
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
            assert!(started.elapsed() < Duration::from_secs(60), "the writer does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
        // A different moment each round.
        std::thread::sleep(Duration::from_micros(round * 7_919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();

        let log = dir.path().join("log");
        let mut positions = HashMap::new();
        for (position, record) in read(&log).unwrap().into_iter().enumerate() {
            let Record::Event(event) = record else { panic!("an invented record") };
            assert_eq!(positions.insert(event.event_id.clone(), position), None, "{} is there twice", event.event_id);
        }
        let acknowledged = acknowledged(dir.path());
        for (id, position) in &acknowledged {
            assert_eq!(positions.get(&format!("event-{id}")), Some(position), "round {round}: {id} was acknowledged");
        }
        if round % 3 == 2 {
            // The index is right whether or not its last part was saved.
            let log = open_with(&log, options()).unwrap();
            for (id, position) in acknowledged.iter().take(50) {
                let again = log.append(vec![event(id)]).unwrap()[0];
                assert_eq!((again.position.0, again.duplicate), (*position as u64, true));
            }
        }
    }
}
