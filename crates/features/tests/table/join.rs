//! What the point-in-time join promises, one promise a test.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use tastemaker_features::table::FeatureStatus::{NotFound, NullValue, OutsideMaxAge, Present};
use tastemaker_features::table::{FeatureType, JoinOptions, JoinRows, KeyColumn, Table, TableError, join};
use tastemaker_types::Window;

use crate::common::{answers, ask, feature, numbers, row, source, table, texts, times, write, write_rows};

fn ttl(micros: i64) -> JoinOptions {
    JoinOptions { ttl: Some(Window::from_micros(micros)), include_late: false }
}

#[test]
fn the_latest_row_at_or_before_the_time_answers() {
    let (_dir, table) = table(&[row("a", 10, 1.0), row("a", 30, 3.0), row("a", 20, 2.0)]);
    let found = answers(&ask([("a", 9), ("a", 10), ("a", 29), ("a", 30), ("a", 99)]), &table, &JoinOptions::default());
    let expected =
        [(None, NotFound), (Some(1.0), Present), (Some(2.0), Present), (Some(3.0), Present), (Some(3.0), Present)];
    assert_eq!(found, expected);
}

#[test]
fn a_row_exactly_as_old_as_the_ttl_counts_and_one_microsecond_older_does_not() {
    let (_dir, table) = table(&[row("a", 100, 1.0)]);
    let found = answers(&ask([("a", 150), ("a", 151), ("a", 99)]), &table, &ttl(50));
    assert_eq!(found, [(Some(1.0), Present), (None, OutsideMaxAge), (None, NotFound)]);
}

#[test]
fn of_rows_with_the_same_event_time_the_one_created_last_answers_and_then_the_last_in_the_table() {
    let rows = [
        (Some("a"), Some(10), Some(12), Some(1.0)),
        (Some("a"), Some(10), Some(14), Some(2.0)),
        (Some("a"), Some(10), Some(13), Some(3.0)),
        (Some("b"), Some(10), Some(12), Some(4.0)),
        (Some("b"), Some(10), Some(12), Some(5.0)),
    ];
    let (_dir, table) = table(&rows);
    let found = answers(&ask([("a", 20), ("b", 20), ("a", 13)]), &table, &JoinOptions::default());
    assert_eq!(found, [(Some(2.0), Present), (Some(5.0), Present), (Some(3.0), Present)]);
}

#[test]
fn a_row_that_was_created_later_is_not_known_unless_that_is_asked_for() {
    let rows = [(Some("a"), Some(10), Some(10), Some(1.0)), (Some("a"), Some(20), Some(50), Some(2.0))];
    let (_dir, table) = table(&rows);
    let rows = ask([("a", 30), ("a", 49), ("a", 50)]);
    let found = answers(&rows, &table, &JoinOptions::default());
    assert_eq!(found, [(Some(1.0), Present), (Some(1.0), Present), (Some(2.0), Present)]);
    let late = answers(&rows, &table, &JoinOptions { ttl: None, include_late: true });
    assert_eq!(late, [(Some(2.0), Present); 3]);
}

#[test]
fn a_late_row_with_an_older_event_does_not_displace_a_newer_one() {
    let rows = [(Some("a"), Some(10), Some(90), Some(1.0)), (Some("a"), Some(20), Some(20), Some(2.0))];
    let (_dir, table) = table(&rows);
    assert_eq!(answers(&ask([("a", 100)]), &table, &JoinOptions::default()), [(Some(2.0), Present)]);
}

#[test]
fn a_row_without_a_created_time_was_created_at_its_event_time() {
    let rows = [(Some("a"), Some(10), None, Some(1.0)), (Some("a"), Some(10), Some(9), Some(2.0))];
    let (_dir, table) = table(&rows);
    assert_eq!(answers(&ask([("a", 10)]), &table, &JoinOptions::default()), [(Some(1.0), Present)]);
}

#[test]
fn a_null_value_is_an_answer_and_no_older_value_is_looked_for() {
    let rows = [row("a", 10, 1.0), (Some("a"), Some(20), None, None)];
    let (_dir, table) = table(&rows);
    assert_eq!(
        answers(&ask([("a", 15), ("a", 25)]), &table, &JoinOptions::default()),
        [(Some(1.0), Present), (None, NullValue)]
    );
}

#[test]
fn duplicates_in_the_table_or_in_the_question_never_add_or_move_rows() {
    let (_dir, table) = table(&[row("a", 10, 1.0), row("a", 10, 1.0), row("b", 10, 2.0), row("b", 10, 2.0)]);
    let asked = ask([("b", 20), ("a", 20), ("b", 20), ("c", 20), ("a", 5), ("b", 20)]);
    let two = (Some(2.0), Present);
    let expected = [two, (Some(1.0), Present), two, (None, NotFound), (None, NotFound), two];
    assert_eq!(answers(&asked, &table, &JoinOptions::default()), expected);
}

#[test]
fn rows_without_key_or_time_are_counted_and_passed_over() {
    let rows = [
        (None, Some(10), None, Some(1.0)),
        (Some("a"), None, None, Some(2.0)),
        (None, None, None, Some(3.0)),
        row("a", 10, 4.0),
    ];
    let (_dir, table) = table(&rows);
    let joined = join(&ask([("a", 99)]), &table, &JoinOptions::default()).unwrap();
    assert_eq!((joined.refused().null_keys, joined.refused().null_times), (2, 1));
    assert_eq!(
        answers(&ask([("a", 99), ("", 99)]), &table, &JoinOptions::default()),
        [(Some(4.0), Present), (None, NotFound)]
    );
}

#[test]
fn an_empty_table_finds_nothing_and_no_rows_get_no_answer() {
    let (_dir, empty) = table(&[]);
    assert_eq!(answers(&ask([("a", 1)]), &empty, &JoinOptions::default()), [(None, NotFound)]);
    let (_dir, full) = table(&[row("a", 1, 1.0)]);
    assert_eq!(answers(&ask([]), &full, &JoinOptions::default()), []);
}

#[test]
fn integer_and_unicode_keys_are_texts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("integers.parquet");
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(-7), None]));
    let at = || times([Some(1), Some(1), Some(1)]);
    write(&path, vec![("uid", keys), ("at", at()), ("made", at()), ("x", numbers([Some(1.0), Some(2.0), Some(3.0)]))]);
    let integers = Table::open(&source(&path)).unwrap();
    let found = answers(&ask([("-7", 1), ("7", 1), ("07", 1)]), &integers, &JoinOptions::default());
    assert_eq!(found, [(Some(2.0), Present), (Some(1.0), Present), (None, NotFound)]);

    let (_dir, unicode) = table(&[row("日本", 1, 1.0), row("e\u{301}", 1, 2.0), row("", 1, 3.0)]);
    let found = answers(&ask([("日本", 1), ("é", 1), ("", 1)]), &unicode, &JoinOptions::default());
    assert_eq!(found, [(Some(1.0), Present), (None, NotFound), (Some(3.0), Present)]);
}

#[test]
fn a_zoned_time_column_equals_its_utc_instant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoned.parquet");
    let zoned: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![3_600_000_000_000]).with_timezone("+01:00"));
    let columns = vec![("uid", texts([Some("a")])), ("at", zoned), ("x", numbers([Some(1.0)]))];
    write(&path, columns);
    let table = Table::open(&tastemaker_features::table::TableSource { created: None, ..source(&path) }).unwrap();
    let hour = 3_600_000_000;
    let found = answers(&ask([("a", hour), ("a", hour - 1)]), &table, &JoinOptions::default());
    assert_eq!(found, [(Some(1.0), Present), (None, NotFound)]);
}

#[test]
fn pairs_are_joined_on_both_keys_and_a_null_in_the_question_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.parquet");
    let columns = vec![
        ("u", texts([Some("ab"), Some("a"), Some("a")])),
        ("i", texts([Some("c"), Some("bc"), None])),
        ("at", times([Some(1), Some(1), Some(1)])),
        ("x", numbers([Some(1.0), Some(2.0), Some(3.0)])),
    ];
    write(&path, columns);
    let key = |name: &str, column: &str| KeyColumn { name: name.to_owned(), column: column.to_owned() };
    let keys = vec![key("user_id", "u"), key("item_id", "i")];
    let pairs = Table::open(&tastemaker_features::table::TableSource { keys, created: None, ..source(&path) }).unwrap();
    let users = StringArray::from(vec!["a", "ab", "ab", "a"]);
    let items = StringArray::from(vec![Some("bc"), Some("c"), Some("bc"), None]);
    let asked = JoinRows::new(vec![users, items], &TimestampMicrosecondArray::from(vec![1; 4])).unwrap();
    let found = answers(&asked, &pairs, &JoinOptions::default());
    assert_eq!(found, [(Some(2.0), Present), (Some(1.0), Present), (None, NotFound), (None, NotFound)]);

    let error = join(&ask([("a", 1)]), &pairs, &JoinOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the rows have 1 key column(s), but the table has 2: user_id, item_id");
}

#[test]
fn every_type_of_feature_comes_through_and_the_event_time_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("types.parquet");
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("x"), Some("y")]);
    tags.append_null();
    let vector =
        FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(vec![Some(vec![Some(1.0), Some(0.5)]), None], 2);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("uid", texts([Some("a"), Some("b")])),
        ("at", times([Some(5), Some(6)])),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("label", texts([Some("l"), None])),
        ("seen", times([Some(3), None])),
        ("tags", Arc::new(tags.finish())),
        ("vector", Arc::new(vector)),
        ("count", Arc::new(Int64Array::from(vec![Some(4), None]))),
    ];
    write(&path, columns);
    let declared = [
        ("flag", FeatureType::Bool),
        ("label", FeatureType::Text),
        ("seen", FeatureType::Time),
        ("tags", FeatureType::Texts),
        ("vector", FeatureType::Vector),
        ("count", FeatureType::Number),
    ];
    let features = declared.iter().map(|(name, kind)| feature(name, *kind)).collect();
    let table =
        Table::open(&tastemaker_features::table::TableSource { features, created: None, ..source(&path) }).unwrap();
    let joined = join(&ask([("b", 9), ("z", 9), ("a", 9)]), &table, &JoinOptions::default()).unwrap();
    let found = joined.rows(0..3).unwrap();
    assert_eq!(found.event_times.iter().collect::<Vec<_>>(), [Some(6), None, Some(5)]);
    for (feature, (name, kind)) in found.features.iter().zip(declared) {
        assert_eq!(feature.values.data_type(), &kind.arrow_type(), "{name}");
        assert_eq!(feature.statuses, [NullValue, NotFound, Present], "{name}");
    }
    let values = |index: usize| &found.features[index].values;
    assert!(values(0).as_boolean().value(2));
    assert_eq!(values(1).as_string::<i32>().value(2), "l");
    let tags: &ListArray = values(3).as_list();
    assert_eq!(tags.value(2).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["x", "y"]);
    let vectors: &ListArray = values(4).as_list();
    assert_eq!(vectors.value(2).as_primitive::<Float32Type>().values(), &[1.0, 0.5]);
    assert_eq!(values(5).as_primitive::<Float64Type>().value(2), 4.0);
    // A range that reaches beyond the rows is cut.
    assert_eq!(joined.rows(2..9).unwrap().features[0].values.len(), 1);
    assert_eq!(joined.rows(7..9).unwrap().features[0].values.len(), 0);
}

#[test]
fn ties_over_several_files_are_decided_by_the_order_of_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    write_rows(&dir.path().join("2.parquet"), &[row("a", 10, 2.0)]);
    write_rows(&dir.path().join("1.parquet"), &[row("a", 10, 1.0), row("b", 10, 3.0)]);
    let table = Table::open(&source(dir.path())).unwrap();
    let found = answers(&ask([("a", 10), ("b", 10)]), &table, &JoinOptions::default());
    assert_eq!(found, [(Some(2.0), Present), (Some(3.0), Present)]);
}

#[test]
fn row_groups_that_are_read_in_pieces_are_read_whole_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.parquet");
    let rows = 600_000_i64;
    let users: StringArray = (0..rows).map(|row| Some((row % 1_000).to_string())).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("uid", Arc::new(users)),
        ("at", times((0..rows).map(Some))),
        ("x", numbers((0..rows).map(|row| Some(row as f64)))),
    ];
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!(writer.close().unwrap().num_row_groups(), 1);
    let table = Table::open(&tastemaker_features::table::TableSource { created: None, ..source(&path) }).unwrap();
    let read: usize = table.batches().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(read as i64, rows);
    // Row `t` is about user `t % 1000`, who asks at every 7th time and is answered with it.
    let asked: Vec<(String, i64)> = (0..rows).step_by(7).map(|t| ((t % 1_000).to_string(), t)).collect();
    let found = answers(&ask(asked.iter().map(|(user, t)| (user.as_str(), *t))), &table, &JoinOptions::default());
    assert!(found.iter().zip(&asked).all(|(found, (_, t))| *found == (Some(*t as f64), Present)));
}

#[test]
fn rows_of_a_join_must_be_whole() {
    let times = TimestampMicrosecondArray::from(vec![Some(1), None]);
    let error = JoinRows::new(vec![StringArray::from(vec!["a", "b"])], &times).unwrap_err();
    assert!(error.to_string().ends_with("1 times are null"), "{error}");
    let error = JoinRows::new(vec![StringArray::from(vec!["a"])], &times).unwrap_err();
    assert!(error.to_string().contains("[1] keys and 2 times"), "{error}");
    assert!(matches!(JoinRows::new(vec![], &times.slice(0, 1)), Err(TableError::KeyColumns { found: 0 })));
}

#[test]
fn a_table_that_changes_between_opening_and_joining_is_refused() {
    let (dir, table) = table(&[row("a", 10, 1.0)]);
    write_rows(&dir.path().join("t.parquet"), &[row("a", 10, 1.0), row("b", 20, 2.0)]);
    let error = join(&ask([("a", 10)]), &table, &JoinOptions::default()).unwrap_err();
    assert!(matches!(error, TableError::Changed { .. }), "{error}");
    assert!(table.batches().next().unwrap().is_err());
}
