//! The newest row of each entity.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use tastemaker_features::table::{LatestOptions, Table, TableError};
use tastemaker_types::Timestamp;

use crate::common::{Row, row, source, table, write_rows};

/// User and value of each row of all chunks, by user.
fn newest(table: &Table, options: &LatestOptions) -> Vec<(String, f64)> {
    let mut rows = Vec::new();
    for chunk in 0..options.chunks {
        for batch in table.latest(chunk, options).unwrap() {
            let batch = batch.unwrap();
            let users = batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
            rows.extend(users.zip(batch.column(3).as_primitive::<Float64Type>().iter().flatten()));
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn at(micros: i64) -> Option<Timestamp> {
    Some(Timestamp::from_micros(micros))
}

const ROWS: [Row<'static>; 6] = [
    (Some("a"), Some(10), Some(10), Some(1.0)),
    (Some("a"), Some(30), Some(30), Some(2.0)),
    (Some("b"), Some(20), Some(20), Some(3.0)),
    (Some("b"), Some(20), Some(25), Some(4.0)),
    (Some("c"), Some(5), Some(40), Some(5.0)),
    (None, Some(99), Some(99), Some(6.0)),
];

#[test]
fn the_newest_row_of_each_entity_by_event_then_created_then_place() {
    let (_dir, table) = table(&ROWS);
    let all = [("a".to_owned(), 2.0), ("b".to_owned(), 4.0), ("c".to_owned(), 5.0)];
    assert_eq!(newest(&table, &LatestOptions::default()), all);
    assert_eq!(newest(&table, &LatestOptions { chunks: 7, ..LatestOptions::default() }), all);
    assert_eq!(table.latest(0, &LatestOptions::default()).unwrap().refused().null_keys, 1);
    assert_eq!(table.suggested_chunks(), 1);
}

#[test]
fn since_gives_only_what_was_not_known_before_and_never_an_older_row_again() {
    let (_dir, table) = table(&ROWS);
    let since = |micros| newest(&table, &LatestOptions { since: at(micros), ..LatestOptions::default() });
    assert_eq!(since(24), [("a".to_owned(), 2.0), ("b".to_owned(), 4.0), ("c".to_owned(), 5.0)]);
    assert_eq!(since(30), [("a".to_owned(), 2.0), ("c".to_owned(), 5.0)], "of just that time");
    assert_eq!(since(31), [("c".to_owned(), 5.0)]);
    assert_eq!(since(41), []);
    // A row that comes late about an earlier event is new, but not the newest.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write_rows(&path, &[row("a", 10, 1.0), (Some("a"), Some(5), Some(50), Some(2.0))]);
    let table = Table::open(&source(&path)).unwrap();
    assert_eq!(newest(&table, &LatestOptions { since: at(20), ..LatestOptions::default() }), []);
}

#[test]
fn as_of_leaves_out_what_was_not_known_yet() {
    let (_dir, table) = table(&ROWS);
    let as_of = |micros| newest(&table, &LatestOptions { as_of: at(micros), ..LatestOptions::default() });
    assert_eq!(as_of(24), [("a".to_owned(), 1.0), ("b".to_owned(), 3.0)]);
    assert_eq!(as_of(9), []);
}

#[test]
fn a_chunk_is_the_same_however_often_and_after_the_table_has_grown() {
    let dir = tempfile::tempdir().unwrap();
    let users: Vec<String> = (0..200).map(|n| format!("user {n}")).collect();
    let rows: Vec<Row<'_>> = users.iter().map(|user| row(user, 10, 1.0)).collect();
    write_rows(&dir.path().join("1.parquet"), &rows);
    let options = LatestOptions { chunks: 4, ..LatestOptions::default() };
    let users_of = |table: &Table, chunk| -> Vec<String> {
        let batches = table.latest(chunk, &options).unwrap().map(|batch| batch.unwrap());
        let users = batches
            .flat_map(|b| b.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>());
        let mut users: Vec<String> = users.collect();
        users.sort();
        users
    };
    let before = Table::open(&source(dir.path())).unwrap();
    write_rows(&dir.path().join("2.parquet"), &[row("user 7", 20, 2.0)]);
    let after = Table::open(&source(dir.path())).unwrap();
    let mut seen = 0;
    for chunk in 0..4 {
        let users = users_of(&before, chunk);
        assert!((20..80).contains(&users.len()), "chunk {chunk} has {} of 200", users.len());
        assert_eq!(users, users_of(&after, chunk));
        seen += users.len();
    }
    assert_eq!(seen, 200);
    assert!(matches!(before.latest(4, &options), Err(TableError::Chunk { chunk: 4, chunks: 4 })));
}
