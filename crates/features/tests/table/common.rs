//! Small tables on disk.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tastemaker_features::table::{
    FeatureColumn, FeatureStatus, FeatureType, JoinOptions, JoinRows, KeyColumn, Table, TableSource, join,
};
use tempfile::TempDir;

/// Writes a file with a few rows per row group.
pub(crate) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

pub(crate) fn numbers(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

pub(crate) fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampMicrosecondArray>())
}

/// One row: user, event time, created time, value.
pub(crate) type Row<'a> = (Option<&'a str>, Option<i64>, Option<i64>, Option<f64>);

/// A row that was created when it was true.
pub(crate) fn row(user: &str, event: i64, value: f64) -> Row<'_> {
    (Some(user), Some(event), None, Some(value))
}

/// Columns `uid`, `at`, `made`, `x`.
pub(crate) fn write_rows(path: &Path, rows: &[Row<'_>]) {
    write(
        path,
        vec![
            ("uid", texts(rows.iter().map(|row| row.0))),
            ("at", times(rows.iter().map(|row| row.1))),
            ("made", times(rows.iter().map(|row| row.2))),
            ("x", numbers(rows.iter().map(|row| row.3))),
        ],
    );
}

pub(crate) fn source(path: &Path) -> TableSource {
    TableSource {
        path: path.to_str().unwrap().to_owned(),
        keys: vec![KeyColumn { name: "user_id".to_owned(), column: "uid".to_owned() }],
        event_time: "at".to_owned(),
        created: Some("made".to_owned()),
        features: vec![feature("x", FeatureType::Number)],
    }
}

pub(crate) fn feature(column: &str, feature_type: FeatureType) -> FeatureColumn {
    FeatureColumn { name: column.to_owned(), column: column.to_owned(), feature_type }
}

/// A table of these rows.
pub(crate) fn table(rows: &[Row<'_>]) -> (TempDir, Table) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write_rows(&path, rows);
    let table = Table::open(&source(&path)).unwrap();
    (dir, table)
}

pub(crate) fn ask<'a>(rows: impl IntoIterator<Item = (&'a str, i64)>) -> JoinRows {
    let (users, times): (Vec<&str>, Vec<i64>) = rows.into_iter().unzip();
    JoinRows::new(vec![StringArray::from(users)], &TimestampMicrosecondArray::from(times)).unwrap()
}

/// The value and status of the first feature for each row.
pub(crate) fn answers(rows: &JoinRows, table: &Table, options: &JoinOptions) -> Vec<(Option<f64>, FeatureStatus)> {
    let joined = join(rows, table, options).unwrap();
    let answer = joined.rows(0..joined.len()).unwrap();
    let feature = &answer.features[0];
    assert_eq!(feature.values.len(), rows.len());
    feature.values.as_primitive::<Float64Type>().iter().zip(feature.statuses.iter().copied()).collect()
}
