//! The join and the newest rows against a reference that scans every row of the table for every question.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;
use tastemaker_features::table::{FeatureStatus, JoinOptions, JoinRows, LatestOptions, Table, TableSource};
use tastemaker_types::{Timestamp, Window};

use crate::common::{Row, answers, source, write_rows};

const USERS: [&str; 5] = ["a", "b", "ü", "", "a b"];

#[derive(Debug, Clone)]
struct TableRow {
    user: Option<usize>,
    event: Option<i64>,
    created: Option<i64>,
    value: Option<f64>,
}

fn table_row() -> impl Strategy<Value = TableRow> {
    let often = |strategy| prop::option::weighted(0.9, strategy);
    (often(0_i64..5), often(-20_i64..20), prop::option::of(-20_i64..30), often(-100_i64..100)).prop_map(
        |(user, event, created, value)| TableRow {
            user: user.map(|u| u as usize),
            event,
            created,
            value: value.map(|v| v as f64),
        },
    )
}

/// The row that answers `user` at `time`, found by looking at all of them.
fn reference(rows: &[TableRow], user: usize, time: i64, with_created: bool, late: bool) -> Option<&TableRow> {
    let mut best: Option<&TableRow> = None;
    let created = |row: &TableRow| if with_created { row.created.or(row.event) } else { row.event };
    for row in rows {
        let eligible = row.user == Some(user)
            && row.event.is_some_and(|event| event <= time)
            && (late || created(row).is_some_and(|created| created <= time));
        // Rows come in the order of the table: an equal later one wins.
        if eligible && best.is_none_or(|best| (row.event, created(row)) >= (best.event, created(best))) {
            best = Some(row);
        }
    }
    best
}

fn open(files: &[Vec<TableRow>], with_created: bool) -> (tempfile::TempDir, Table) {
    let dir = tempfile::tempdir().unwrap();
    for (index, rows) in files.iter().enumerate() {
        let row = |row: &TableRow| -> Row<'static> { (row.user.map(|u| USERS[u]), row.event, row.created, row.value) };
        write_rows(&dir.path().join(format!("{index}.parquet")), &rows.iter().map(row).collect::<Vec<_>>());
    }
    let mut source: TableSource = source(dir.path());
    source.created = source.created.filter(|_| with_created);
    let table = Table::open(&source).unwrap();
    (dir, table)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_join_answers_as_a_scan_of_all_rows_does(
        files in prop::collection::vec(prop::collection::vec(table_row(), 0..20), 1..4),
        asked in prop::collection::vec((prop::option::weighted(0.9, 0_usize..5), -25_i64..35), 0..30),
        with_created: bool,
        include_late: bool,
        ttl in prop::option::of(0_i64..40),
    ) {
        let (_dir, table) = open(&files, with_created);
        let rows: Vec<TableRow> = files.concat();
        let users: StringArray = asked.iter().map(|(user, _)| user.map(|u| USERS[u])).collect();
        let times: TimestampMicrosecondArray = asked.iter().map(|(_, time)| Some(*time)).collect();
        let options = JoinOptions { ttl: ttl.map(Window::from_micros), include_late };
        let found = answers(&JoinRows::new(vec![users], &times).unwrap(), &table, &options);
        let expected: Vec<_> = asked
            .iter()
            .map(|(user, time)| {
                match user.and_then(|user| reference(&rows, user, *time, with_created, include_late)) {
                    None => (None, FeatureStatus::NotFound),
                    Some(row) if ttl.is_some_and(|ttl| time - row.event.unwrap() > ttl) => {
                        (None, FeatureStatus::OutsideMaxAge)
                    }
                    Some(TableRow { value: None, .. }) => (None, FeatureStatus::NullValue),
                    Some(row) => (row.value, FeatureStatus::Present),
                }
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_newest_rows_are_what_a_join_at_that_time_finds(
        files in prop::collection::vec(prop::collection::vec(table_row(), 0..20), 1..4),
        with_created: bool,
        as_of in -25_i64..35,
        since in prop::option::of(-25_i64..35),
        chunks in 1_u32..4,
    ) {
        let (_dir, table) = open(&files, with_created);
        let rows: Vec<TableRow> = files.concat();
        let options = LatestOptions {
            chunks,
            since: since.map(Timestamp::from_micros),
            as_of: Some(Timestamp::from_micros(as_of)),
        };
        let mut found = Vec::new();
        for chunk in 0..chunks {
            for batch in table.latest(chunk, &options).unwrap() {
                let batch = batch.unwrap();
                let users = batch.column(0).as_string::<i32>();
                let values = batch.columns().last().unwrap().as_primitive::<Float64Type>();
                found.extend(users.iter().zip(values).map(|(user, value)| (user.unwrap().to_owned(), value)));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let mut expected: Vec<(String, Option<f64>)> = Vec::new();
        for (index, user) in USERS.iter().enumerate() {
            if let Some(row) = reference(&rows, index, as_of, with_created, false)
                && since.is_none_or(|since| row.event >= Some(since) || (with_created && row.created >= Some(since)))
            {
                expected.push(((*user).to_owned(), row.value));
            }
        }
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, expected);
    }
}
