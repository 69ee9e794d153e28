//! Records for the tests, and reading a log back.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses some of it")]

use std::path::Path;

use tastemaker_log::{EventLog, LogError, LogOptions, LogReader};
use tastemaker_types::{
    Attributes, EntityUpsert, Event, Position, Record, Served, ServedItem, Timestamp, UpsertMode, Value,
};

pub fn event(id: impl std::fmt::Display) -> Record {
    Record::Event(Event {
        event_id: format!("event-{id}"),
        event_type: "click".to_owned(),
        user_id: "ann".to_owned(),
        item_id: "lamp".to_owned(),
        timestamp: Timestamp::from_micros(1_767_323_045_000_000),
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    })
}

/// One record of each kind, with every field set, and one with as few as can be.
pub fn one_of_each() -> Vec<Record> {
    let time = Timestamp::from_micros(1_767_323_045_678_901);
    let attributes = Attributes::from([
        ("available".to_owned(), Value::Bool(true)),
        ("genres".to_owned(), Value::Tags(vec!["Comedy".to_owned(), "Drama".to_owned()])),
        ("price".to_owned(), Value::Number(-9.5)),
        ("released".to_owned(), Value::Time(Timestamp::from_micros(-1))),
        ("título".to_owned(), Value::Text("Амели 🦀".to_owned())),
    ]);
    let full = Event {
        event_id: "évènement-1".to_owned(),
        event_type: "purchase".to_owned(),
        user_id: "用户".to_owned(),
        item_id: "🛋️".to_owned(),
        timestamp: time,
        value: Some(12.25),
        session_id: Some("s1".to_owned()),
        received: None,
        request_id: Some("r1".to_owned()),
        properties: attributes.clone(),
    };
    let upsert = |mode| EntityUpsert { id: "lamp".to_owned(), attributes: attributes.clone(), mode, timestamp: time };
    vec![
        Record::Event(full),
        event("bare"),
        Record::ItemUpsert(upsert(UpsertMode::Replace)),
        Record::ItemDelete { id: "lamp".to_owned(), timestamp: time },
        Record::UserUpsert(upsert(UpsertMode::Merge)),
        Record::UserDelete { id: "ann".to_owned(), timestamp: Timestamp::EPOCH },
        Record::Served(Served {
            request_id: "r1".to_owned(),
            user_id: "ann".to_owned(),
            timestamp: time,
            generation: Some(3),
            items: vec![ServedItem { item_id: "lamp".to_owned(), score: 0.75 }],
            degraded: vec!["embedding".to_owned()],
            features: None,
        }),
    ]
}

pub fn open(dir: &Path) -> EventLog {
    open_with(dir, LogOptions::default()).unwrap()
}

pub fn open_with(dir: &Path, options: LogOptions) -> Result<EventLog, LogError> {
    EventLog::open(dir, options, Box::new(|_| {}))
}

/// All records, after checking that positions have no gap.
pub fn read(dir: &Path) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for entry in LogReader::open(dir)?.read_from(Position(0)) {
        let (position, record) = entry?;
        assert_eq!(position.0, records.len() as u64);
        records.push(record);
    }
    Ok(records)
}

/// The segment files, in order.
pub fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    files.sort();
    files
}

/// A new folder where syncs cost nothing, if there is one: for tests that open a log hundreds of times.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A copy of the segment files alone, as a process that was killed leaves them: with no index.
pub fn copy_segments(from: &Path) -> tempfile::TempDir {
    let to = scratch();
    for file in segments(from) {
        std::fs::copy(&file, to.path().join(file.file_name().unwrap())).unwrap();
    }
    to
}
