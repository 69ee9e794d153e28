//! Readers beside a writer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

mod common;

use std::time::{Duration, Instant};

use common::{event, one_of_each, open, open_with};
use tastemaker_log::{LogOptions, LogReader};
use tastemaker_types::{Position, Record};

#[test]
fn a_reader_follows_a_writer_across_segments_and_never_sees_half_a_call() {
    const CALLS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), LogOptions { segment_bytes: 2_000, ..LogOptions::default() }).unwrap();
    std::thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || {
            for call in 0..CALLS {
                log.append((0..5).map(|n| event(format!("{call}-{n}"))).collect()).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut records = LogReader::open(dir.path()).unwrap().read_from(Position(0));
                let (mut seen, started) = (0, Instant::now());
                while seen < CALLS * 5 {
                    assert!(started.elapsed() < Duration::from_secs(60), "stuck at {seen}");
                    let before = seen;
                    for entry in records.by_ref() {
                        let (position, record) = entry.unwrap();
                        assert_eq!(position.0, seen);
                        assert_eq!(record, event(format!("{}-{}", seen / 5, seen % 5)));
                        seen += 1;
                    }
                    assert_eq!(seen % 5, 0, "a part of a call was visible");
                    if seen == before {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
        }
    });
    assert_eq!(LogReader::open(dir.path()).unwrap().end().unwrap(), Position(CALLS * 5));
}

#[test]
fn a_reader_started_anew_at_any_time_sees_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), LogOptions { segment_bytes: 3_000, ..LogOptions::default() }).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..500).for_each(|n| drop(log.append(vec![event(n)]).unwrap())));
        while !writer.is_finished() {
            let acknowledged = log.end();
            let reader = LogReader::open(dir.path()).unwrap();
            let records: Vec<Record> = reader.read_from(Position(0)).map(|entry| entry.unwrap().1).collect();
            assert!(records.len() as u64 >= acknowledged.0, "an acknowledged record is not visible");
            assert_eq!(records, (0..records.len()).map(event).collect::<Vec<_>>());
            assert!(reader.end().unwrap().0 >= records.len() as u64);
        }
    });
}

#[test]
fn without_events_the_others_keep_their_positions() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(one_of_each()).unwrap();
    log.append(one_of_each()[2..].to_vec()).unwrap();
    let others = |from| log.reader().read_from(Position(from)).without_events().map(Result::unwrap);
    let expected: Vec<_> = (0..).map(Position).zip([one_of_each(), one_of_each()[2..].to_vec()].concat()).collect();
    assert_eq!(others(0).collect::<Vec<_>>(), expected[2..]);
    assert_eq!(others(5).collect::<Vec<_>>(), expected[5..]);
}
