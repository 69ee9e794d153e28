//! Open-loop load: requests are due at a fixed rate whatever the server does. Latency counts from the due time, so a
//! server that stalls pays for every request that had to wait (no coordinated omission).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio::task::LocalSet;

use crate::client::Connection;

/// What to send: the n-th request of a stream.
pub(crate) type Requests = Rc<dyn Fn(u64) -> Vec<u8>>;

/// One stream of requests.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Connections that share them.
    pub(crate) connections: usize,
    pub(crate) requests: Requests,
}

/// What came of a stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) stream: &'static str,
    pub(crate) offered_per_second: f64,
    pub(crate) completed_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// Answers by HTTP status; `error` counts those without one.
    pub(crate) statuses: BTreeMap<String, u64>,
}

impl Outcome {
    /// Whether every answer was a 200.
    pub(crate) fn all_ok(&self) -> bool {
        self.statuses.keys().all(|status| status == "200")
    }
}

struct Tally {
    latency: Histogram<u64>,
    statuses: BTreeMap<String, u64>,
}

/// A request, and when it is due.
struct Due {
    number: u64,
    at: Instant,
    counted: bool,
}

/// Gives the requests of a stream as they become due. A thread waits for that, since the runtime's timer counts in milliseconds.
fn due(rate: f64, start: Instant, warm_up: Duration, duration: Duration) -> mpsc::UnboundedReceiver<Due> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let total = ((warm_up + duration).as_secs_f64() * rate) as u64;
    std::thread::spawn(move || {
        for number in 0..total {
            let offset = Duration::from_secs_f64(number as f64 / rate);
            let at = start + offset;
            if let Some(early) = at.checked_duration_since(Instant::now()) {
                std::thread::sleep(early);
            }
            if sender.send(Due { number, at, counted: offset >= warm_up }).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Runs all `streams` beside each other for `duration`, after `warm_up` that is not counted.
pub(crate) async fn run(
    address: SocketAddr,
    streams: &[Stream],
    warm_up: Duration,
    duration: Duration,
) -> anyhow::Result<Vec<Outcome>> {
    let local = LocalSet::new();
    let start = Instant::now() + Duration::from_millis(50);
    let mut tallies = Vec::new();
    for stream in streams {
        let tally = Rc::new(RefCell::new(Tally {
            latency: Histogram::new_with_bounds(1, 120_000_000, 3).context("histogram")?,
            statuses: BTreeMap::new(),
        }));
        let due = Rc::new(Mutex::new(due(stream.rate, start, warm_up, duration)));
        for _ in 0..stream.connections {
            local.spawn_local(work(address, Rc::clone(&stream.requests), Rc::clone(&due), Rc::clone(&tally)));
        }
        tallies.push((stream, tally));
    }
    local.await;
    Ok(tallies.into_iter().map(|(stream, tally)| outcome(stream, &tally.borrow(), duration)).collect())
}

/// One connection: takes the next request when it is due, sends it, and counts from its due time.
async fn work(
    address: SocketAddr,
    requests: Requests,
    due: Rc<Mutex<mpsc::UnboundedReceiver<Due>>>,
    tally: Rc<RefCell<Tally>>,
) {
    let mut connection = Connection::new(address);
    loop {
        let next = due.lock().await.recv().await;
        let Some(Due { number, at, counted }) = next else { return };
        let status = match connection.send(&requests(number)).await {
            Ok(status) => status.to_string(),
            Err(_) => "error".to_owned(),
        };
        if counted {
            let mut tally = tally.borrow_mut();
            let micros = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
            tally.latency.saturating_record(micros);
            *tally.statuses.entry(status).or_default() += 1;
        }
    }
}

fn outcome(stream: &Stream, tally: &Tally, duration: Duration) -> Outcome {
    let at = |quantile: f64| tally.latency.value_at_quantile(quantile) as f64 / 1e3;
    Outcome {
        stream: stream.name,
        offered_per_second: stream.rate,
        completed_per_second: tally.latency.len() as f64 / duration.as_secs_f64(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: tally.latency.max() as f64 / 1e3,
        statuses: tally.statuses.clone(),
    }
}

/// Prints outcomes as an aligned table.
pub(crate) fn print(outcomes: &[Outcome]) {
    println!(
        "{:<16} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}  statuses",
        "stream", "offered/s", "done/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
    );
    for o in outcomes {
        println!(
            "{:<16} {:>10.0} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {:?}",
            o.stream,
            o.offered_per_second,
            o.completed_per_second,
            o.p50_ms,
            o.p90_ms,
            o.p99_ms,
            o.p999_ms,
            o.max_ms,
            o.statuses
        );
    }
}
