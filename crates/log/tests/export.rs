//! Events out of the log as Parquet files, read back with the Parquet reader. With `TASTEMAKER_PYTHON` set to an interpreter
//! that has pyarrow and duckdb, those read them too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use common::{one_of_each, open, open_with};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tastemaker_log::export::{ExportError, ExportOptions, ExportProgress, events_to_parquet};
use tastemaker_log::{LogOptions, LogReader};
use tastemaker_types::{Event, Record, Timestamp};

const DAY: i64 = 86_400_000_000;

fn event_on(day: i64, n: usize) -> Record {
    let Record::Event(mut event) = common::event(n) else { unreachable!() };
    event.timestamp = Timestamp::from_micros(day * DAY + n as i64);
    event.value = n.is_multiple_of(2).then_some(n as f64);
    Record::Event(event)
}

/// Event ids and positions by partition folder.
fn partitions(events: &Path) -> BTreeMap<String, Vec<(String, i64)>> {
    let mut found: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for folder in sorted(events) {
        for file in sorted(&folder) {
            let rows = found.entry(folder.file_name().unwrap().to_str().unwrap().to_owned()).or_default();
            for batch in batches(&file) {
                let ids = batch["event_id"].as_string::<i32>().iter().map(|id| id.unwrap().to_owned());
                let positions = batch["position"].as_primitive::<Int64Type>().values().iter().copied();
                rows.extend(ids.zip(positions));
            }
        }
    }
    found
}

fn sorted(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn batches(file: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(file).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_field_of_an_event_is_a_column() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("log"));
    log.append(one_of_each()).unwrap();
    let report = events_to_parquet(&log.reader(), dir.path(), &ExportOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.events, report.days, report.files), (2, 1, 1));
    let file = dir.path().join("events/date=2026-01-02/part-00000.parquet");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), report.bytes);
    let [batch] = &batches(&file)[..] else { panic!("one batch") };
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names.join(" "),
        "event_id type user_id item_id timestamp value session_id request_id properties position"
    );
    let text = |column: &str, row: usize| batch[column].as_string::<i32>().value(row).to_owned();
    assert_eq!((text("event_id", 0), text("type", 0)), ("évènement-1".to_owned(), "purchase".to_owned()));
    assert_eq!((text("user_id", 0), text("item_id", 0)), ("用户".to_owned(), "🛋️".to_owned()));
    let times = batch["timestamp"].as_primitive::<TimestampMicrosecondType>();
    assert_eq!((times.value(0), times.timezone()), (1_767_323_045_678_901, Some("UTC")));
    assert_eq!(batch["value"].as_primitive::<Float64Type>().value(0), 12.25);
    assert_eq!((text("session_id", 0), text("request_id", 0)), ("s1".to_owned(), "r1".to_owned()));
    let Record::Event(Event { properties, .. }) = &one_of_each()[0] else { unreachable!() };
    assert_eq!(text("properties", 0), serde_json::to_string(properties).unwrap());
    for column in ["value", "session_id", "request_id", "properties"] {
        assert!(batch[column].is_null(1), "{column} of the bare event");
    }
    assert_eq!(batch["position"].as_primitive::<Int64Type>().values(), &[0, 1]);
}

#[test]
fn days_in_any_order_come_out_sorted_within_little_memory_and_in_large_files() {
    let dir = tempfile::tempdir().unwrap();
    let log =
        open_with(&dir.path().join("log"), LogOptions { segment_bytes: 20_000, ..LogOptions::default() }).unwrap();
    let mut expected: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    let records: Vec<_> = (0..3_000).map(|n| event_on((n as i64 * 7_919) % 40 - 5, n)).collect();
    for (position, record) in records.iter().enumerate() {
        let Record::Event(event) = record else { unreachable!() };
        let date = format!("date={}", event.timestamp.utc_date());
        expected.entry(date).or_default().push((event.event_id.clone(), position as i64));
    }
    log.append(records).unwrap();
    // So little memory that there are more runs than are merged at once.
    let options = ExportOptions { sort_bytes: 4_000, part_rows: 50, ..ExportOptions::default() };
    let mut steps = Vec::new();
    let report = events_to_parquet(&log.reader(), dir.path(), &options, &mut |step| steps.push(step)).unwrap();
    assert_eq!((report.events, report.days, report.files), (3_000, 40, 80));
    assert_eq!(partitions(&dir.path().join("events")), expected);
    assert_eq!(steps.last(), Some(&ExportProgress::Written { done: 3_000, total: 3_000 }));
    assert!(expected.contains_key("date=1969-12-27") && expected.contains_key("date=1970-02-04"));
    assert_eq!(sorted(dir.path()).len(), 2, "temporary files are gone: {:?}", sorted(dir.path()));
}

#[test]
fn an_earlier_export_is_kept_unless_it_is_to_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("log"));
    log.append(vec![event_on(0, 1)]).unwrap();
    let export = |overwrite| {
        let options = ExportOptions { overwrite, ..ExportOptions::default() };
        events_to_parquet(&log.reader(), dir.path(), &options, &mut |_| {})
    };
    assert_eq!(export(false).unwrap().events, 1);
    log.append(vec![event_on(1, 2)]).unwrap();
    let refused = export(false).unwrap_err();
    assert!(matches!(refused, ExportError::NotEmpty { .. }), "{refused}");
    assert_eq!(partitions(&dir.path().join("events")).len(), 1);
    assert_eq!(export(true).unwrap().events, 2);
    assert_eq!(partitions(&dir.path().join("events")).len(), 2);
}

#[test]
fn a_damaged_log_exports_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let log = open(&log_dir);
    (0..3).for_each(|n| drop(log.append(vec![event_on(n as i64, n)]).unwrap()));
    drop(log);
    let file = &common::segments(&log_dir)[0];
    let mut bytes = std::fs::read(file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let reader = LogReader::open(&log_dir).unwrap();
    let error = events_to_parquet(&reader, dir.path(), &ExportOptions::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ExportError::Log(tastemaker_log::LogError::Corrupt { .. })), "{error}");
    assert_eq!(sorted(dir.path()), [log_dir], "nothing is left behind");
}

#[test]
fn an_empty_log_exports_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("log"));
    let report = events_to_parquet(&log.reader(), dir.path(), &ExportOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.events, report.files), (0, 0));
    assert!(partitions(&dir.path().join("events")).is_empty());
}

#[test]
fn pyarrow_and_duckdb_read_the_partitions() {
    let Ok(python) = std::env::var("TASTEMAKER_PYTHON") else {
        println!("skipped: TASTEMAKER_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("log"));
    log.append(one_of_each()).unwrap();
    log.append((0..100).map(|n| event_on(20_000 + n as i64 % 4, n)).collect()).unwrap();
    events_to_parquet(&log.reader(), dir.path(), &ExportOptions::default(), &mut |_| {}).unwrap();
    let script = r#"
import sys, json, datetime, duckdb, pyarrow.dataset as ds
root = sys.argv[1]
table = ds.dataset(root, format="parquet", partitioning="hive").to_table()
assert table.num_rows == 102, table.num_rows
assert str(table.schema.field("timestamp").type) == "timestamp[us, tz=UTC]", table.schema
rows = duckdb.sql(f"""select date, count(*), count(value), min(timestamp)::varchar from read_parquet('{root}/**/*.parquet', hive_partitioning = true)
                      group by 1 order by 1""").fetchall()
assert [r[1] for r in rows] == [25, 25, 25, 25, 2], rows
assert rows[0][0] == datetime.date(2024, 10, 4), rows
properties = duckdb.sql(f"select properties from read_parquet('{root}/**/*.parquet') where event_id = 'évènement-1'").fetchall()[0][0]
assert json.loads(properties)["genres"] == ["Comedy", "Drama"], properties
"#;
    let output = Command::new(python).args(["-c", script]).arg(dir.path().join("events")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
