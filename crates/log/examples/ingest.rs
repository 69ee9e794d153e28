//! How fast the log takes events and gives them back: synced single events from many threads, synced batches, replay, and the
//! CPU time of each. `cargo run --release -p tastemaker-log --example ingest -- [DIR] [BATCH_EVENTS] [SINGLE_SECONDS]`
//! (a new folder under the system's temporary one, two million events and five seconds unless told otherwise).
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tastemaker_log::{EventLog, LogOptions, LogReader};
use tastemaker_types::{Event, Position, Record, Timestamp};

const SINGLE_THREADS: usize = 64;
const BATCH_THREADS: u64 = 2;
const BATCH: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir =
        args.next().map_or_else(|| std::env::temp_dir().join(format!("ingest-{}", std::process::id())), PathBuf::from);
    let batch_events: u64 = args.next().map_or(Ok(2_000_000), |n| n.parse())?;
    let seconds: u64 = args.next().map_or(Ok(5), |n| n.parse())?;
    if LogReader::open(&dir).is_ok() {
        return Err(format!("{} is there already; name a new folder", dir.display()).into());
    }

    let log = EventLog::open(&dir, LogOptions::default(), Box::new(|_| {}))?;
    println!("{}", dir.display());
    singles(&log, Duration::from_secs(seconds))?;
    batches(&log, batch_events, 0)?;
    println!("the same events again:");
    batches(&log, batch_events.min(1_000_000), 0)?;
    measure("close", || log.close().map(|()| 1))?;
    measure("reopen", || EventLog::open(&dir, LogOptions::default(), Box::new(|_| {}))?.close().map(|()| 1))?;
    replay(&dir)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// One event per call from many threads, for a while.
fn singles(log: &EventLog, length: Duration) -> Result<(), Box<dyn Error>> {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = log.stats();
    let (cpu, started) = (cpu_time()?, Instant::now());
    let mut latencies = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SINGLE_THREADS)
            .map(|thread| {
                let (stop, sent) = (&stop, &sent);
                scope.spawn(move || {
                    let mut latencies = Vec::new();
                    while !stop.load(Relaxed) {
                        let n = sent.fetch_add(1, Relaxed);
                        let started = Instant::now();
                        if log.append(vec![event("single", n, thread as u64)]).is_err() {
                            break;
                        }
                        latencies.push(started.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        std::thread::sleep(length);
        stop.store(true, Relaxed);
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect::<Vec<_>>()
    });
    let (wall, cpu) = (started.elapsed().as_secs_f64(), (cpu_time()? - cpu).as_secs_f64());
    latencies.sort_unstable();
    let at = |q: f64| latencies.get(((latencies.len() as f64 - 1.0) * q) as usize).copied().unwrap_or_default();
    let (n, stats) = (latencies.len() as f64, log.stats());
    println!(
        "singles: {SINGLE_THREADS} threads, {:.0} events/s, {:.0} syncs/s, p50 {:.2?}, p99 {:.2?}, CPU {:.2} us/event",
        n / wall,
        (stats.groups - before.groups) as f64 / wall,
        at(0.5),
        at(0.99),
        cpu * 1e6 / n
    );
    Ok(())
}

/// Calls of a thousand events from two threads.
fn batches(log: &EventLog, events: u64, salt: u64) -> Result<(), Box<dyn Error>> {
    let before = log.stats();
    let next = AtomicU64::new(0);
    // Made in rounds outside of the measured time.
    let (mut wall, mut cpu) = (0.0, 0.0);
    let rounds = events.div_ceil(BATCH * 100);
    for round in 0..rounds {
        let mut calls: Vec<Vec<Record>> = (0..100)
            .map(|call| {
                let first = (round * 100 + call) * BATCH;
                (first..(first + BATCH).min(events)).map(|n| event("batch", n, salt)).collect()
            })
            .collect();
        let (share, started) = (calls.len() / BATCH_THREADS as usize, (cpu_time()?, Instant::now()));
        let rest = calls.split_off(share);
        let (a, b) = std::thread::scope(|scope| {
            let send = |calls: Vec<Vec<Record>>| {
                for call in calls {
                    next.fetch_add(call.len() as u64, Relaxed);
                    log.append(call)?;
                }
                Ok::<(), tastemaker_log::LogError>(())
            };
            let other = scope.spawn(move || send(rest));
            (send(calls), other.join())
        });
        a?;
        b.map_err(|_| "a sender panicked")??;
        wall += started.1.elapsed().as_secs_f64();
        cpu += (cpu_time()? - started.0).as_secs_f64();
    }
    let (n, stats) = (next.load(Relaxed) as f64, log.stats());
    println!(
        "batches of {BATCH} from {BATCH_THREADS} threads: {:.0} events in {wall:.2} s, {:.0} events/s, {:.0} syncs/s, {:.0} bytes/event, CPU {:.2} us/event, {} duplicates",
        n,
        n / wall,
        (stats.groups - before.groups) as f64 / wall,
        (stats.bytes - before.bytes) as f64 / n,
        cpu * 1e6 / n,
        stats.duplicates - before.duplicates,
    );
    Ok(())
}

fn replay(dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    measure("replay", || {
        let mut count = 0;
        for record in LogReader::open(dir)?.read_from(Position(0)) {
            record?;
            count += 1;
        }
        Ok(count)
    })
}

fn measure(what: &str, run: impl FnOnce() -> Result<u64, tastemaker_log::LogError>) -> Result<(), Box<dyn Error>> {
    let (cpu, started) = (cpu_time()?, Instant::now());
    let count = run()?;
    let (wall, cpu) = (started.elapsed(), cpu_time()? - cpu);
    println!("{what}: {count} in {wall:.2?} ({:.0}/s), CPU {cpu:.2?}", count as f64 / wall.as_secs_f64());
    Ok(())
}

fn event(kind: &str, n: u64, salt: u64) -> Record {
    Record::Event(Event {
        event_id: format!("{kind}-{salt}-{n:012}"),
        event_type: "click".to_owned(),
        user_id: format!("user-{}", n % 10_007),
        item_id: format!("item-{}", n % 50_021),
        timestamp: Timestamp::from_micros(1_700_000_000_000_000 + n as i64),
        value: Some(n as f64),
        session_id: Some(format!("session-{}", n / 20)),
        received: None,
        request_id: None,
        properties: Default::default(),
    })
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).unwrap_or(&"0").parse::<u64>();
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
