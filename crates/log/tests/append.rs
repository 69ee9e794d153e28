//! Appending: what callers are told, and what is in the log afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{event, one_of_each, open, open_with, read, segments};
use tastemaker_log::{Appended, EventLog, LogError, LogOptions, LogReader};
use tastemaker_types::{Position, Record, Timestamp};

fn new(position: u64) -> Appended {
    Appended { position: Position(position), duplicate: false }
}

fn repeated(position: u64) -> Appended {
    Appended { position: Position(position), duplicate: true }
}

#[test]
fn every_kind_of_record_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let appended = log.append(one_of_each()).unwrap();
    assert_eq!(appended, (0..7).map(new).collect::<Vec<_>>());
    assert_eq!(log.end(), Position(7));
    assert_eq!(read(dir.path()).unwrap(), one_of_each());
    assert_eq!(LogReader::open(dir.path()).unwrap().end().unwrap(), Position(7));
}

#[test]
fn a_repeated_event_id_is_applied_once_within_a_call_across_calls_and_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    // Two ids in memory: most of them are looked up in the storage engine.
    let options = LogOptions { memory_ids: 2, ..LogOptions::default() };
    let log = open_with(dir.path(), options.clone()).unwrap();
    let appended = log.append(vec![event("a"), event("b"), event("a")]).unwrap();
    assert_eq!(appended, [new(0), new(1), repeated(0)]);
    let appended = log.append(vec![event("c"), event("b")]).unwrap();
    assert_eq!(appended, [new(2), repeated(1)]);
    for id in 0..20 {
        assert_eq!(log.append(vec![event(id)]).unwrap(), [new(3 + id)]);
    }
    drop(log);
    for _ in 0..3 {
        let log = open_with(dir.path(), options.clone()).unwrap();
        assert_eq!(
            log.append(vec![event("c"), event("a"), event(19)]).unwrap(),
            [repeated(2), repeated(0), repeated(22)]
        );
        assert_eq!(log.stats().duplicates, 3);
        log.close().unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("ids")).unwrap();
    let log = open_with(dir.path(), options).unwrap();
    assert_eq!(log.append(vec![event("b"), event(7), event("new")]).unwrap(), [repeated(1), repeated(10), new(23)]);
    assert_eq!(read(dir.path()).unwrap().len(), 24);
}

#[test]
fn only_events_are_deduplicated() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let delete = Record::ItemDelete { id: "lamp".to_owned(), timestamp: Timestamp::EPOCH };
    assert_eq!(log.append(vec![delete.clone(), delete]).unwrap(), [new(0), new(1)]);
}

#[test]
fn ids_may_be_in_any_script() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let ids = ["日本語", "é", "e\u{301}", "🦀", "a\0b"];
    for (position, id) in ids.iter().enumerate() {
        assert_eq!(log.append(vec![event(id)]).unwrap(), [new(position as u64)]);
    }
    assert_eq!(read(dir.path()).unwrap(), ids.map(event));
}

#[test]
fn an_empty_call_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.append(Vec::new()).unwrap(), []);
    assert_eq!(log.stats().groups, 0);
    assert_eq!(read(dir.path()).unwrap(), []);
}

#[test]
fn what_is_over_a_limit_is_refused_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        LogOptions { max_call_records: 10, max_record_bytes: 1_000, max_call_bytes: 5_000, ..LogOptions::default() };
    let log = open_with(dir.path(), options).unwrap();
    let many = log.append((0..11).map(event).collect());
    assert!(matches!(many, Err(LogError::CallTooLarge { records: 11, max_records: 10, .. })), "{many:?}");
    let large = log.append(vec![event("small"), event("x".repeat(1_000))]);
    assert!(matches!(large, Err(LogError::RecordTooLarge { index: 1, limit: 1_000, .. })), "{large:?}");
    let heavy = log.append((0..10).map(|n| event(format!("{n}{}", "x".repeat(900)))).collect());
    assert!(matches!(heavy, Err(LogError::CallTooLarge { max_bytes: 5_000, .. })), "{heavy:?}");
    assert!(!log.append_unsynced((0..11).map(event).collect()));
    assert_eq!(log.stats().dropped_unsynced, 11);
    assert_eq!(log.append((0..10).map(event).collect()).unwrap().len(), 10);
    assert_eq!(read(dir.path()).unwrap().len(), 10);
}

#[test]
fn a_second_writer_is_told_who_the_first_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let second = open_with(dir.path(), LogOptions::default());
    let message = second.expect_err("two writers").to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    drop(log);
    open(dir.path()).append(vec![event(1)]).unwrap();
}

#[test]
fn segments_follow_each_other_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 300, ..LogOptions::default() };
    let mut expected = Vec::new();
    for life in 0..3 {
        let log = open_with(dir.path(), options.clone()).unwrap();
        for call in 0..10 {
            let records: Vec<_> = (0..3).map(|n| event(format!("{life}-{call}-{n}"))).collect();
            log.append(records.clone()).unwrap();
            expected.extend(records);
        }
    }
    assert!(segments(dir.path()).len() > 10);
    assert_eq!(read(dir.path()).unwrap(), expected);
    let reader = LogReader::open(dir.path()).unwrap();
    for from in [0, 1, 2, 3, 44, 89, 90, 1_000] {
        let found: Vec<_> = reader.read_from(Position(from)).map(Result::unwrap).collect();
        let tail = expected.iter().enumerate().skip(from as usize);
        assert_eq!(found, tail.map(|(n, record)| (Position(n as u64), record.clone())).collect::<Vec<_>>());
    }
}

#[test]
fn the_listener_sees_every_record_once_in_order_before_the_caller_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&seen);
    let log = EventLog::open(
        dir.path(),
        LogOptions::default(),
        Box::new(move |records| listener.lock().unwrap().extend(records.iter().cloned())),
    )
    .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (log, seen) = (&log, &seen);
            scope.spawn(move || {
                for n in 0..50 {
                    // Every id is sent by two threads.
                    let record = event(format!("{}-{n}", thread / 2));
                    let appended = log.append(vec![record.clone()]).unwrap()[0];
                    let seen = seen.lock().unwrap();
                    assert_eq!(seen[appended.position.0 as usize], (appended.position, record));
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!((stats.records, stats.duplicates, stats.end), (200, 200, Position(200)));
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(read(dir.path()).unwrap(), seen);
}

#[test]
fn callers_that_wait_together_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let log = &log;
            scope.spawn(move || (0..20).for_each(|n| drop(log.append(vec![event(format!("{thread}-{n}"))]).unwrap())));
        }
    });
    let stats = log.stats();
    assert_eq!(stats.records, 640);
    assert!(stats.groups < 320, "{} syncs for {} calls", stats.groups, stats.records);
}

#[test]
fn unsynced_records_go_out_with_the_next_call_or_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let served = |n: usize| one_of_each().split_off(6).into_iter().cycle().take(n).collect::<Vec<_>>();
    let options =
        LogOptions { unsynced_linger: Duration::from_millis(300), unsynced_records: 5, ..LogOptions::default() };
    let log = open_with(dir.path(), options).unwrap();
    assert!(log.append_unsynced(served(2)));
    assert_eq!(log.append(vec![event(1)]).unwrap(), [new(2)]);
    assert_eq!(log.stats().groups, 1);
    let asked = Instant::now();
    assert!(log.append_unsynced(served(5)));
    assert!(!log.append_unsynced(served(1)), "the queue holds five");
    while log.end() < Position(8) {
        assert!(asked.elapsed() < Duration::from_secs(20), "they never went out");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(log.stats().dropped_unsynced, 1);
    assert!(log.append_unsynced(served(3)));
    log.close().unwrap();
    assert_eq!(read(dir.path()).unwrap().len(), 11, "closing commits what waits");
}

#[test]
fn a_full_queue_refuses_those_who_must_not_wait_and_makes_the_others_wait() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let (held, committed) = (gate.lock().unwrap(), Arc::new(AtomicU64::new(0)));
    let (listener_gate, counter) = (Arc::clone(&gate), Arc::clone(&committed));
    let log = EventLog::open(
        dir.path(),
        LogOptions { queue_bytes: 300, ..LogOptions::default() },
        Box::new(move |records| {
            drop(listener_gate.lock());
            counter.fetch_add(records.len() as u64, Ordering::Relaxed);
        }),
    )
    .unwrap();
    // The committer is held by the listener; the queue fills up behind it.
    let mut waiting = Vec::new();
    let mut refused = 0;
    for n in 0..50 {
        let call = Box::pin(log.append_async(vec![event(n)]));
        waiting.push(call);
        refused += usize::from(log.stats().waiting_bytes > 240);
    }
    assert!(refused > 0, "the queue never filled up");
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| log.append(vec![event("patient")]));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!patient.is_finished());
        drop(held);
        assert!(!patient.join().unwrap().unwrap()[0].duplicate);
    });
    let results: Vec<_> = waiting.into_iter().map(call_now).collect();
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(LogError::Busy { .. }))), "{results:?}");
    assert!(accepted < 50);
    log.close().unwrap();
    assert_eq!(committed.load(Ordering::Relaxed), accepted as u64 + 1);
}

/// The result of a future that is ready, or soon will be.
fn call_now<T>(mut future: std::pin::Pin<Box<impl Future<Output = T>>>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_panicking_listener_closes_the_log_instead_of_hanging_its_callers() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default(), Box::new(|_| panic!("a bug in the listener"))).unwrap();
    assert!(matches!(log.append(vec![event(1)]), Err(LogError::Closed)));
    assert!(matches!(log.append(vec![event(2)]), Err(LogError::Closed)));
    assert!(matches!(log.close(), Err(LogError::Poisoned { .. })));
}
