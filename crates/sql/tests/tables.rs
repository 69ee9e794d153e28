//! The tables of a project, read column by column from a log on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use common::{TIME, event, records, tables, upsert};
use proptest::prelude::*;
use tastemaker_log::{EventLog, LogOptions};
use tastemaker_sql::{Table, project_tables};
use tastemaker_types::{Record, Timestamp, UpsertMode, Value};

/// The named columns of all rows.
fn scan(table: &dyn Table, names: &[&str]) -> Vec<RecordBatch> {
    let columns: Vec<usize> = names.iter().map(|name| table.schema().index_of(name).unwrap()).collect();
    let reader = table.scan(&columns, Box::new(|_| Ok(()))).unwrap();
    let schema = reader.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
    reader.map(Result::unwrap).inspect(|batch| assert_eq!(batch.schema(), schema)).collect()
}

/// The only batch, all columns.
fn whole(table: &dyn Table) -> RecordBatch {
    let schema = table.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut batches = scan(table, &names);
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
    column.as_string::<i32>().iter().collect()
}

fn times(column: &ArrayRef) -> Vec<Option<i64>> {
    let times = column.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.timezone(), Some("UTC"));
    times.iter().collect()
}

#[test]
fn a_repeated_event_is_one_row_and_every_field_is_a_column() {
    let (_dir, tables) = tables(records());
    let events = whole(&*tables["events"]);
    assert_eq!(texts(&events["event_id"]), [Some("e0"), Some("e1"), Some("e2"), Some("e3")]);
    assert_eq!(texts(&events["type"])[1..], [Some("purchase"), Some("click"), Some("impression")]);
    assert_eq!(texts(&events["user_id"])[..3], [Some("ann"), Some("用户"), Some("ann")]);
    assert_eq!(texts(&events["item_id"])[..2], [Some("lamp"), Some("🛋️")]);
    assert_eq!(times(&events["timestamp"])[1], Some(TIME + 1_000_000));
    assert_eq!(events["value"].as_primitive::<Float64Type>().iter().collect::<Vec<_>>()[..2], [None, Some(12.25)]);
    assert_eq!(texts(&events["session_id"])[..2], [None, Some("s1")]);
    assert_eq!(texts(&events["request_id"])[..2], [None, Some("r1")]);
    let properties: serde_json::Value = serde_json::from_str(texts(&events["properties"])[1].unwrap()).unwrap();
    assert_eq!(properties, serde_json::json!({"channel": "почта", "tries": 2.0}));
    assert!(events["properties"].is_null(0));
}

#[test]
fn items_are_what_their_upserts_and_deletions_leave() {
    let (_dir, tables) = tables(records());
    let items = whole(&*tables["items"]);
    assert_eq!(texts(&items["id"]), [Some("lamp"), Some("rug"), Some("🛋️")]);
    assert_eq!(texts(&items["title"]), [Some("Lamp"), None, Some("Sofa «Ö»")], "merged, replaced, whole");
    assert_eq!(texts(&items["brand"]), [None, None, Some("Ånd")]);
    let prices: Vec<_> = items["price"].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(prices, [Some(9.0), None, Some(199.5)], "a text is no price");
    assert_eq!(items["sold"].as_boolean().iter().collect::<Vec<_>>(), [Some(false), None, Some(true)]);
    assert_eq!(times(&items["made"]), [None, None, Some(-1)]);
    let genres = items["Genres"].as_list::<i32>();
    assert_eq!(texts(&genres.value(2)), [Some("a"), Some("b")]);
    assert!(genres.is_null(0) && items.column_by_name("colour").is_none());
}

#[test]
fn a_deleted_user_comes_back_with_nothing() {
    let (_dir, tables) = tables(records());
    let users = whole(&*tables["users"]);
    assert_eq!(texts(&users["id"]), [Some("ann"), Some("用户")]);
    assert_eq!(texts(&users["country"]), [None, Some("中国")]);
}

#[test]
fn recommendations_have_a_row_for_each_item_shown() {
    let (_dir, tables) = tables(records());
    let shown = whole(&*tables["recommendations"]);
    assert_eq!(texts(&shown["request_id"]), [Some("r1"), Some("r1"), Some("r2")]);
    assert_eq!(texts(&shown["user_id"]), [Some("ann"); 3]);
    assert_eq!(texts(&shown["item_id"]), [Some("🛋️"), Some("lamp"), Some("rug")]);
    assert_eq!(shown["position"].as_primitive::<Int64Type>().values(), &[1, 2, 1]);
    let generations: Vec<_> = shown["generation"].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(generations, [Some(3), Some(3), None]);
    assert_eq!(shown["score"].as_primitive::<Float32Type>().values(), &[0.75, 0.5, -1.5]);
    assert_eq!(times(&shown["timestamp"]), [Some(TIME); 3]);
}

#[test]
fn a_scan_reads_the_wanted_columns_in_the_wanted_order_and_counts_without_any() {
    let (_dir, tables) = tables(records());
    for (name, rows, wanted) in [
        ("events", 4, ["timestamp", "event_id"]),
        ("items", 3, ["price", "id"]),
        ("users", 2, ["country", "id"]),
        ("recommendations", 3, ["score", "request_id"]),
    ] {
        assert_eq!(scan(&*tables[name], &wanted)[0].num_rows(), rows, "{name}");
        let [none] = &scan(&*tables[name], &[])[..] else { panic!("one batch of {name}") };
        assert_eq!((none.num_rows(), none.num_columns()), (rows, 0), "{name}");
        assert!(tables[name].scan(&[99], Box::new(|_| Ok(()))).is_err(), "{name}");
    }
}

#[test]
fn what_is_written_later_is_not_in_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default(), Box::new(|_| {})).unwrap();
    log.append(records()).unwrap();
    let before = project_tables(&log.reader(), log.reader().end().unwrap(), common::items(), common::users());
    let later = [
        Record::Event(event(100, "click", "ann", "lamp")),
        Record::ItemDelete { id: "lamp".to_owned(), timestamp: Timestamp::from_micros(TIME) },
    ];
    log.append(later.to_vec()).unwrap();
    let count = |table: &Arc<dyn Table>| scan(&**table, &[])[0].num_rows();
    assert_eq!((count(&before[0].1), count(&before[1].1)), (4, 3));
    let after = project_tables(&log.reader(), log.reader().end().unwrap(), common::items(), common::users());
    assert_eq!((count(&after[0].1), count(&after[1].1)), (5, 2));
}

#[test]
fn many_events_come_in_batches_in_the_order_of_the_log() {
    let many = 20_000;
    let (_dir, tables) = tables((0..many).map(|n| Record::Event(event(n, "click", "ann", "lamp"))).collect());
    let batches = scan(&*tables["events"], &["position"]);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8_192, 8_192, 3_616]);
    let positions = batches.iter().flat_map(|batch| batch["position"].as_primitive::<Int64Type>().values());
    assert!(positions.copied().eq(0..many as i64));
    let counted: usize = scan(&*tables["events"], &[]).iter().map(RecordBatch::num_rows).sum();
    assert_eq!(counted, many);
}

#[test]
fn a_scan_tells_what_it_holds_and_ends_when_it_may_not() {
    let title = "x".repeat(1_000);
    let upserts = (0..1_000)
        .map(|n| Record::ItemUpsert(upsert(&format!("i{n}"), UpsertMode::Replace, &[("title", common::text(&title))])));
    let (_dir, tables) = tables(upserts.collect());
    let most = |columns: &[usize]| {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let hold = Box::new(move |bytes| {
            seen.fetch_max(bytes, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(tables["items"].scan(columns, hold).unwrap().count(), 1);
        most.load(Ordering::Relaxed)
    };
    let all: Vec<usize> = (0..tables["items"].schema().fields().len()).collect();
    assert!(most(&all) > 1_000_000, "{}", most(&all));
    assert!(most(&[0]) < 200_000, "titles that are not wanted are not held: {}", most(&[0]));
    let refuse = |bytes| if bytes < 100_000 { Ok(()) } else { Err(ArrowError::MemoryError("no".to_owned())) };
    assert!(tables["items"].scan(&all, Box::new(refuse)).is_err());
}

#[test]
fn what_a_scan_holds_goes_back_to_nothing_with_the_items() {
    let mut records = records();
    let ids = ["🛋️", "lamp", "rug"].map(str::to_owned);
    records.extend(ids.map(|id| Record::ItemDelete { id, timestamp: Timestamp::from_micros(TIME) }));
    let (_dir, tables) = tables(records);
    let last = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&last);
    let hold = Box::new(move |bytes| {
        *seen.lock().unwrap() = Some(bytes);
        Ok(())
    });
    assert_eq!(tables["items"].scan(&[0, 1, 2, 3, 4, 5, 6], hold).unwrap().count(), 0);
    assert_eq!(*last.lock().unwrap(), Some(0));
}

fn change() -> impl Strategy<Value = (bool, u8, Option<UpsertMode>, Option<f64>, Option<String>)> {
    let mode = prop_oneof![Just(None), Just(Some(UpsertMode::Merge)), Just(Some(UpsertMode::Replace))];
    (any::<bool>(), 0..4u8, mode, prop::option::of(-9.0..9.0), prop::option::of("[a-c]{0,2}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_applying_it_step_by_step_leaves(
        changes in prop::collection::vec(change(), 1..40),
    ) {
        let mut expected: BTreeMap<String, BTreeMap<&str, Value>> = BTreeMap::new();
        let mut log = vec![];
        for (of_item, id, mode, price, title) in changes {
            let id = format!("i{id}");
            let mut given = vec![];
            given.extend(price.map(|price| ("price", Value::Number(price))));
            given.extend(title.map(Value::Text).map(|title| ("title", title)));
            if of_item {
                match mode {
                    None => drop(expected.remove(&id)),
                    Some(mode) => {
                        let known = expected.entry(id.clone()).or_default();
                        if mode == UpsertMode::Replace {
                            known.clear();
                        }
                        known.extend(given.iter().cloned());
                    }
                }
            }
            let timestamp = Timestamp::from_micros(TIME);
            log.push(match (of_item, mode) {
                (true, None) => Record::ItemDelete { id, timestamp },
                (false, None) => Record::UserDelete { id, timestamp },
                (true, Some(mode)) => Record::ItemUpsert(upsert(&id, mode, &given)),
                (false, Some(mode)) => Record::UserUpsert(upsert(&id, mode, &given)),
            });
        }
        let (_dir, tables) = tables(log);
        let mut found = BTreeMap::new();
        for batch in scan(&*tables["items"], &["title", "id", "price"]) {
            let prices = batch["price"].as_primitive::<Float64Type>();
            for (row, id) in texts(&batch["id"]).into_iter().enumerate() {
                let mut values = BTreeMap::new();
                values.extend(texts(&batch["title"])[row].map(|title| ("title", common::text(title))));
                values.extend(prices.is_valid(row).then(|| ("price", Value::Number(prices.value(row)))));
                found.insert(id.unwrap().to_owned(), values);
            }
        }
        prop_assert_eq!(found, expected);
    }
}
