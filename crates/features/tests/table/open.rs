//! What opening a table finds, and what it says of one that is not as declared.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Date32Array, Int64Array};
use tastemaker_features::table::{FeatureType, Table, TableSource};

use crate::common::{feature, numbers, row, source, texts, times, write, write_rows};

/// What opening `edit(source)` of one well-formed file fails with.
fn refusal(edit: impl FnOnce(&mut TableSource)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write_rows(&path, &[row("a", 1, 1.0)]);
    let mut source = source(&path);
    edit(&mut source);
    let error = Table::open(&source).unwrap_err().to_string();
    error.replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn a_missing_column_is_named_with_the_nearest() {
    assert_eq!(
        refusal(|source| source.features = vec![feature("mode", FeatureType::Number)]),
        "DIR/t.parquet has no column 'mode' for the number 'mode'; did you mean 'made'?"
    );
    assert_eq!(
        refusal(|source| source.event_time = "event_timestamp".to_owned()),
        "DIR/t.parquet has no column 'event_timestamp' for the event time; known: at, made, uid, x"
    );
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_to_write() {
    assert_eq!(
        refusal(|source| source.features = vec![feature("x", FeatureType::Text)]),
        "DIR/t.parquet: column 'x' for the text 'x' holds floats (Float64); declare it as number, or write the column as text"
    );
    assert_eq!(
        refusal(|source| source.event_time = "x".to_owned()),
        "DIR/t.parquet: column 'x' for the event time holds floats (Float64); a number does not say its unit, so write it as a \
         timestamp, such as with pandas.to_datetime(column, unit='s')"
    );
    assert_eq!(
        refusal(|source| source.keys[0].column = "x".to_owned()),
        "DIR/t.parquet: column 'x' for the key 'user_id' holds floats (Float64); write keys as text or integers"
    );
}

#[test]
fn an_integer_is_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let seconds: ArrayRef = Arc::new(Int64Array::from(vec![1_700_000_000]));
    write(&path, vec![("uid", texts([Some("a")])), ("at", seconds), ("x", numbers([Some(1.0)]))]);
    let error = Table::open(&TableSource { created: None, ..source(&path) }).unwrap_err().to_string();
    assert!(error.contains("holds integers (Int64); a number does not say its unit"), "{error}");
}

#[test]
fn every_file_of_a_folder_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    write_rows(&dir.path().join("1.parquet"), &[row("a", 1, 1.0)]);
    write(&dir.path().join("2.parquet"), vec![("uid", texts([Some("a")])), ("at", times([Some(1)]))]);
    let error = Table::open(&source(dir.path())).unwrap_err().to_string();
    assert!(error.contains("2.parquet has no column 'made'"), "{error}");
}

#[test]
fn what_is_no_parquet_or_not_there_is_said() {
    assert!(refusal(|source| source.path += ".gz").starts_with("no Parquet file at 'DIR/t.parquet.gz'; give a file"));
    assert!(refusal(|source| source.keys.clear()).starts_with("a table has one key column, or two"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    std::fs::write(&path, "user_id,x\n").unwrap();
    let error = Table::open(&source(&path)).unwrap_err().to_string();
    assert!(error.contains("t.parquet cannot be read: "), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let rows: Vec<_> = (0..9).map(|n| row("a", n, n as f64)).collect();
    write_rows(&path, &rows);
    let whole = std::fs::read(&path).unwrap();
    let mut failed = 0;
    for at in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        std::fs::write(&path, &damaged).unwrap();
        // Some bytes are values, so not every damage can be seen.
        let rows = Table::open(&source(&path)).and_then(|table| table.batches().collect::<Result<Vec<_>, _>>());
        failed += usize::from(rows.is_err());
    }
    assert!(failed > whole.len() / 12, "{failed} of {}", whole.len());
}

#[test]
fn dates_are_their_midnight_and_nulls_are_counted_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(2), Some(3)]));
    let users = texts([Some("a"), Some("b"), None, Some("d")]);
    write(&path, vec![("uid", users), ("at", days), ("x", numbers([Some(1.0), Some(2.0), Some(3.0), Some(4.0)]))]);
    let table = Table::open(&TableSource { created: None, ..source(&path) }).unwrap();
    assert_eq!(table.rows(), 4);
    let mut batches = table.batches();
    let read: Vec<_> = batches.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!((batches.refused().null_keys, batches.refused().null_times), (1, 1));
    let read = arrow_select::concat::concat_batches(table.schema(), &read).unwrap();
    assert_eq!(read.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "d"]);
    let day = 86_400_000_000;
    assert_eq!(read.column(1).as_primitive::<TimestampMicrosecondType>().values(), &[day, 3 * day]);
    assert_eq!(read.column(2).as_primitive::<Float64Type>().values(), &[1.0, 4.0]);
}

#[test]
fn hive_partitions_are_columns() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, x) in [("day=2026-01-02/country=de", 1.0), ("day=2026-01-03/country=__HIVE_DEFAULT_PARTITION__", 2.0)]
    {
        let columns = vec![("uid", texts([Some("a"), Some("b")])), ("x", numbers([Some(x), None]))];
        write(&dir.path().join(folder).join("part-0.parquet"), columns);
    }
    let mut source = TableSource { created: None, event_time: "day".to_owned(), ..source(dir.path()) };
    source.features.push(feature("country", FeatureType::Text));
    let table = Table::open(&source).unwrap();
    let read = table.batches().collect::<Result<Vec<_>, _>>().unwrap();
    let read = arrow_select::concat::concat_batches(table.schema(), &read).unwrap();
    let day = 86_400_000_000;
    let second = 20_455 * day;
    let days = read.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(days.values(), &[second, second, second + day, second + day]);
    let countries = read.column(3).as_string::<i32>();
    assert_eq!(countries.iter().collect::<Vec<_>>(), [Some("de"), Some("de"), None, None]);

    source.features[1].feature_type = FeatureType::Number;
    let error = Table::open(&source).unwrap_err().to_string();
    assert!(error.contains("column 'country' for the number 'country' holds 'de'; it is no number"), "{error}");
}
