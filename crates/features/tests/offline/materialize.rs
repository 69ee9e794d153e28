//! Materialization: rows of tables for the log, once each.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use tastemaker_features::offline::{Materialized, ViewRows, table_source};
use tastemaker_features::table::{LatestOptions, Table};
use tastemaker_log::LogReader;
use tastemaker_types::{FeatureRow, FeatureValue, Record, Timestamp};

use crate::common::{PROJECT, Project, at, worth, write_log, write_parquet};

fn times(times: &[Option<Timestamp>]) -> ArrayRef {
    let micros = times.iter().map(|at| at.map(|at| at.as_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn row(record: Record) -> FeatureRow {
    let Record::FeatureRow(row) = record else { panic!("it was a row") };
    row
}

#[test]
fn only_what_would_change_a_read_is_written() {
    let dir = tempfile::tempdir().unwrap();
    write_log(
        dir.path(),
        vec![
            worth("ann", at(10), Some(at(20)), 1.0),
            worth("bob", at(10), None, 1.0),
            worth("cat", at(10), None, 1.0),
            Record::UserDelete { id: "cat".to_owned(), timestamp: at(11) },
            worth("eve", at(200), Some(at(11)), 1.0),
        ],
    );
    let log = LogReader::open(dir.path()).unwrap();
    let mut known = Materialized::read(&log, at(100), |_| ControlFlow::Continue(())).unwrap();
    let cases = [
        (worth("ann", at(10), Some(at(20)), 1.0), false, "the same again"),
        (worth("ann", at(10), Some(at(19)), 2.0), false, "created before"),
        (worth("ann", at(9), Some(at(30)), 2.0), false, "of an earlier time, however late"),
        (worth("ann", at(10), Some(at(20)), 2.0), true, "corrected in place"),
        (worth("ann", at(10), Some(at(20)), 2.0), false, "and again"),
        (worth("bob", at(10), Some(at(10)), 1.0), false, "created at its time, which is what none means"),
        (worth("bob", at(11), None, 1.0), true, "newer, with the same value"),
        (worth("cat", at(10), None, 1.0), false, "forgotten since"),
        (worth("cat", at(10), Some(at(11)), 1.0), false, "created when they were forgotten"),
        (worth("cat", at(10), Some(at(12)), 1.0), true, "created since they were forgotten"),
        (worth("dan", at(1), None, 1.0), true, "new"),
        (worth("eve", at(50), None, 1.0), true, "what the log has is of the future"),
    ];
    for (record, changes, what) in cases {
        assert_eq!(known.changes(&row(record)), changes, "{what}");
    }
}

#[test]
fn where_times_are_moments_of_runs_only_other_values_are_written() {
    let mut known = Materialized::default();
    let cases = [
        (worth("ann", at(10), None, 1.0), true, "new"),
        (worth("ann", at(11), None, 1.0), false, "the same, later"),
        (worth("ann", at(12), None, 2.0), true, "another value"),
        (worth("ann", at(13), None, 1.0), true, "and the first again"),
        (worth("ann", at(12), None, 3.0), false, "of an earlier moment"),
    ];
    for (record, changes, what) in cases {
        assert_eq!(known.changes_values(&row(record)), changes, "{what}");
    }
}

#[test]
fn rows_have_their_types_and_what_cannot_be_used_is_told() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("worth.parquet");
    let long = "x".repeat(600);
    let users = [Some("ann"), Some("ann"), Some("bob"), None, Some(long.as_str()), Some("late")];
    write_parquet(
        &path,
        vec![
            ("user_id", Arc::new(StringArray::from(users.to_vec())) as ArrayRef),
            ("event_timestamp", times(&[1, 5, 2, 3, 3, 90].map(|minutes| Some(at(minutes))))),
            ("created", times(&[Some(at(9)), Some(at(6)), None, None, None, None])),
            ("value", Arc::new(Float64Array::from(vec![Some(1.0), Some(5.0), None, None, Some(1.0), Some(1.0)]))),
            ("segment", Arc::new(StringArray::from(vec![None, Some("a"), Some("b"), None, None, None]))),
        ],
    );
    let mut view = project.config.feature_views[0].clone();
    view.path = Some(path);
    view.features.shift_remove("taste");
    let source = table_source(&view).unwrap();
    let table = Table::open(&source).unwrap();
    let mut declared = project.set.views()[0].clone();
    declared.columns.shift_remove("taste");
    let options = LatestOptions { as_of: Some(at(60)), ..LatestOptions::default() };
    let mut rows = ViewRows::new(&declared, table.latest(0, &options).unwrap());
    let read: Vec<FeatureRow> = rows.by_ref().flat_map(|batch| batch.unwrap()).collect();
    let named = |name: &str, value| (name.to_owned(), value);
    let expected = [
        FeatureRow {
            view: "worth".to_owned(),
            user_id: Some("ann".to_owned()),
            item_id: None,
            event_timestamp: at(5),
            created: Some(at(6)),
            values: vec![
                named("value", FeatureValue::Number(5.0)),
                named("segment", FeatureValue::Text("a".to_owned())),
            ],
        },
        FeatureRow {
            view: "worth".to_owned(),
            user_id: Some("bob".to_owned()),
            item_id: None,
            event_timestamp: at(2),
            created: None,
            values: vec![named("segment", FeatureValue::Text("b".to_owned()))],
        },
    ];
    assert_eq!(read, expected);
    let report = rows.into_report();
    assert_eq!((report.rows, report.latest), (2, Some(at(6))));
    assert_eq!(report.refused.values().copied().collect::<Vec<_>>(), [1, 1], "{:?}", report.refused);
    assert!(report.examples[0].contains("512") && report.examples[0].len() < 300, "{:?}", report.examples);
}

#[test]
fn a_row_that_no_record_can_hold_is_refused_and_the_others_come() {
    let settings = "[[feature_views]]\nname = \"notes\"\nentity = \"user\"\nfeatures = { FEATURES }\n";
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let features: Vec<String> = names.iter().map(|name| format!("{name} = \"text\"")).collect();
    let project = Project::new(&settings.replace("FEATURES", &features.join(", ")));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.parquet");
    let large = "x".repeat(60_000);
    let mut columns = vec![
        ("user_id", Arc::new(StringArray::from(vec!["ann", "bob", "cat"])) as ArrayRef),
        ("event_timestamp", times(&[Some(at(1)); 3])),
    ];
    let column = || Arc::new(StringArray::from(vec!["small", &large, "small"])) as ArrayRef;
    columns.extend(names.iter().map(|name| (name.as_str(), column())));
    write_parquet(&path, columns);
    let mut view = project.config.feature_views[0].clone();
    view.path = Some(path);
    let table = Table::open(&table_source(&view).unwrap()).unwrap();
    let latest = table.latest(0, &LatestOptions::default()).unwrap();
    let mut rows = ViewRows::new(&project.set.views()[0], latest);
    assert_eq!(rows.share_read(), 0.0);
    let users: Vec<_> = rows.by_ref().flat_map(|batch| batch.unwrap()).filter_map(|row| row.user_id).collect();
    assert_eq!(users, ["ann", "cat"]);
    assert_eq!(rows.share_read(), 1.0, "refused rows are read, too");
    let report = rows.into_report();
    let refused: Vec<_> = report.refused.into_iter().collect();
    assert_eq!(refused, [("the row is too large: more than 1048576 bytes in all".to_owned(), 1)]);
    assert!(report.examples[0].starts_with("bob at"), "{:?}", report.examples);
}
