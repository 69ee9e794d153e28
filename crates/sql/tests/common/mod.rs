//! A project's log, written as the server writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses some of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tastemaker_log::{EventLog, LogOptions};
use tastemaker_sql::{Table, project_tables};
use tastemaker_types::{
    AttributeSchema, AttributeType, Attributes, EntityUpsert, Event, Record, Served, ServedItem, Timestamp, UpsertMode,
    Value,
};
use tempfile::TempDir;

/// 2026-01-02T03:04:05Z, in microseconds.
pub const TIME: i64 = 1_767_323_045_000_000;

/// Times count up from [`TIME`], a second for each event.
pub fn event(n: usize, kind: &str, user: &str, item: &str) -> Event {
    Event {
        event_id: format!("e{n}"),
        event_type: kind.to_owned(),
        user_id: user.to_owned(),
        item_id: item.to_owned(),
        timestamp: Timestamp::from_micros(TIME + n as i64 * 1_000_000),
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    }
}

pub fn upsert(id: &str, mode: UpsertMode, attributes: &[(&str, Value)]) -> EntityUpsert {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    EntityUpsert { id: id.to_owned(), attributes, mode, timestamp: Timestamp::from_micros(TIME) }
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn items() -> AttributeSchema {
    use AttributeType::{Bool, Number, Tag, Tags, Text, Time};
    let fields = [("brand", Tag), ("Genres", Tags), ("title", Text), ("price", Number), ("sold", Bool), ("made", Time)];
    AttributeSchema::new(fields.map(|(name, kind)| (name.to_owned(), kind)))
}

pub fn users() -> AttributeSchema {
    AttributeSchema::new([("country".to_owned(), AttributeType::Tag)])
}

/// Four events (a fifth is a repetition), three items (a fourth is deleted), two users (one deleted and back), two answers.
pub fn records() -> Vec<Record> {
    use UpsertMode::{Merge, Replace};
    let full = Event {
        value: Some(12.25),
        session_id: Some("s1".to_owned()),
        received: None,
        request_id: Some("r1".to_owned()),
        properties: Attributes::from([("channel".to_owned(), text("почта")), ("tries".to_owned(), Value::Number(2.0))]),
        ..event(1, "purchase", "用户", "🛋️")
    };
    let time = Value::Time(Timestamp::from_micros(-1));
    let whole = [
        ("brand", text("Ånd")),
        ("Genres", Value::Tags(vec!["b".to_owned(), "a".to_owned()])),
        ("title", text("Sofa «Ö»")),
        ("price", Value::Number(199.5)),
        ("sold", Value::Bool(true)),
        ("made", time),
    ];
    let answer = |request: &str, generation, items: &[(&str, f32)]| {
        Record::Served(Served {
            request_id: request.to_owned(),
            user_id: "ann".to_owned(),
            timestamp: Timestamp::from_micros(TIME),
            generation,
            items: items.iter().map(|(id, score)| ServedItem { item_id: (*id).to_owned(), score: *score }).collect(),
            degraded: vec![],
            features: None,
        })
    };
    vec![
        Record::Event(event(0, "click", "ann", "lamp")),
        Record::ItemUpsert(upsert("🛋️", Replace, &whole)),
        Record::ItemUpsert(upsert("lamp", Replace, &[("price", Value::Number(10.0)), ("title", text("Lamp"))])),
        answer("r1", Some(3), &[("🛋️", 0.75), ("lamp", 0.5)]),
        Record::Event(full),
        Record::ItemUpsert(upsert("lamp", Merge, &[("price", Value::Number(9.0)), ("sold", Value::Bool(false))])),
        Record::ItemUpsert(upsert("rug", Replace, &[("price", Value::Number(5.0)), ("brand", text("X"))])),
        Record::ItemUpsert(upsert("rug", Replace, &[("price", text("cheap")), ("colour", text("red"))])),
        Record::ItemUpsert(upsert("gone", Replace, &[("price", Value::Number(1.0))])),
        Record::ItemDelete { id: "gone".to_owned(), timestamp: Timestamp::from_micros(TIME) },
        Record::UserUpsert(upsert("ann", Replace, &[("country", text("SE"))])),
        Record::UserDelete { id: "ann".to_owned(), timestamp: Timestamp::from_micros(TIME) },
        Record::UserUpsert(upsert("ann", Merge, &[])),
        Record::UserUpsert(upsert("用户", Merge, &[("country", text("中国"))])),
        Record::Event(event(2, "click", "ann", "rug")),
        Record::Event(event(0, "click", "ann", "lamp")),
        Record::Event(event(3, "impression", "bob", "lamp")),
        answer("r2", None, &[("rug", -1.5)]),
    ]
}

/// A log of these records, and the tables over it.
pub fn tables(records: Vec<Record>) -> (TempDir, BTreeMap<&'static str, Arc<dyn Table>>) {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default(), Box::new(|_| {})).unwrap();
    log.append(records).unwrap();
    let tables = project_tables(&log.reader(), log.reader().end().unwrap(), items(), users());
    (dir, tables.into_iter().collect())
}
