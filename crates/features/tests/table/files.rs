//! Entity rows that come in, and tables of features that go out.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tastemaker_features::table::{EntityRows, FeatureStatus, FeatureWriter, JoinOptions, join};

use crate::common::{numbers, row, table, texts, times, write};

const SECOND: i64 = 1_000_000;

fn written(dir: &Path, name: &str, content: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn refusal(name: &str, content: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), name, content);
    let rows = EntityRows::open(&path, 10).and_then(|rows| rows.collect::<Result<Vec<_>, _>>());
    rows.unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn rows_of_csv_are_joined_and_written_with_all_their_columns() {
    let dir = tempfile::tempdir().unwrap();
    let csv = "\u{feff}user_id,label,event_timestamp,note\n007,1,1970-01-01T00:00:10Z,\"a, b\"\n\
               b,0,1970-01-01T01:00:05+01:00,\nc,1,20,x\n";
    let path = written(dir.path(), "rows.csv", csv);
    let (_dir, table) = table(&[row("007", 9 * SECOND, 1.5), row("b", 5 * SECOND, 2.5), row("7", 0, 9.0)]);

    let mut rows = EntityRows::open(&path, 10).unwrap();
    let fields = rows.schema().fields().iter().chain(table.feature_fields()).cloned();
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let out = dir.path().join("out.parquet");
    std::fs::write(&out, "what was there").unwrap();
    let mut writer = FeatureWriter::create(&out, schema.clone()).unwrap();
    let chunk = rows.next().unwrap().unwrap();
    let joined = join(&chunk.join_rows(&["user_id"]).unwrap(), &table, &JoinOptions::default()).unwrap();
    let mut start = 0;
    for batch in &chunk.batches {
        let found = joined.rows(start..start + batch.num_rows()).unwrap();
        assert_eq!(
            found.features[0].statuses,
            [FeatureStatus::Present, FeatureStatus::Present, FeatureStatus::NotFound]
        );
        start += batch.num_rows();
        let features = found.features.into_iter().map(|feature| feature.values);
        let columns = batch.columns().iter().cloned().chain(features).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
    }
    assert!(rows.next().is_none());
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there", "nothing appears before it is whole");
    assert_eq!(writer.finish().unwrap(), 3);

    let file = std::fs::File::open(&out).unwrap();
    let read = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap();
    assert_eq!(read.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["007", "b", "c"]);
    assert_eq!(read.column(1).as_primitive::<Int64Type>().values(), &[1, 0, 1]);
    let at = read.column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.values(), &[10 * SECOND, 5 * SECOND, 20 * SECOND]);
    assert_eq!(read.column(3).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a, b"), None, Some("x")]);
    assert_eq!(&read.column(4).to_data(), &numbers([Some(1.5), Some(2.5), None]).to_data());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file stays: {left:?}");
}

#[test]
fn parquet_rows_come_in_chunks_with_their_own_types() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let rows = 20_000;
    let users: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let columns = vec![
        ("item_id", texts((0..rows).map(|_| None))),
        ("user_id", users),
        ("timestamp", times((0..rows).map(Some))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let chunks: Vec<_> = EntityRows::open(&path, 8_192).unwrap().map(|chunk| chunk.unwrap()).collect();
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.join_rows(&["user_id"]).unwrap().len()).collect();
    assert_eq!(lengths, [8_192, 8_192, 3_616]);
    assert_eq!(chunks[1].batches[0].column(1).as_primitive::<Int64Type>().value(0), 8_192);
    assert_eq!(chunks[0].join_rows(&["user_id", "item_id"]).unwrap().len(), 8_192);
    let (_dir, table) = table(&[row("8193", 1, 1.0)]);
    let joined = join(&chunks[1].join_rows(&["user_id"]).unwrap(), &table, &JoinOptions::default()).unwrap();
    let found = joined.rows(0..3).unwrap();
    assert_eq!(&found.features[0].values.to_data(), &numbers([None, Some(1.0), None]).to_data());
}

#[test]
fn rows_that_cannot_be_used_are_refused_by_name_and_row() {
    assert_eq!(
        refusal("r.csv", "user_id,timestamp\na,2026-01-02\nb,yesterday\n"),
        "DIR/r.csv, row 2, column 'timestamp': 'yesterday' is not a time; give RFC 3339 (2026-01-02T03:04:05Z), a date, or \
         seconds/milliseconds/microseconds since 1970"
    );
    assert_eq!(
        refusal("r.csv", "customer,timestamp\na,1\n"),
        "DIR/r.csv has no column 'user_id' or 'item_id' for the entity; its columns are: customer, timestamp"
    );
    assert_eq!(
        refusal("r.csv", "user_id,when\na,1\n"),
        "DIR/r.csv has no column 'event_timestamp' or 'timestamp' for the time; its columns are: user_id, when"
    );
    assert!(refusal("r.csv", "user_id,timestamp\na,1\nb\n").starts_with("DIR/r.csv cannot be read: "));
    assert!(
        refusal("r.json", "{}").starts_with("cannot tell the format of DIR/r.json by its name; use .parquet or .csv")
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.parquet");
    write(&path, vec![("user_id", texts([Some("a"), Some("b")])), ("timestamp", times([Some(1), None]))]);
    let error = EntityRows::open(&path, 10).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("r.parquet, row 2, column 'timestamp': there is no time"), "{error}");
    write(&path, vec![("user_id", texts([Some("a")])), ("timestamp", numbers([Some(1.0)]))]);
    let error = EntityRows::open(&path, 10).err().unwrap().to_string();
    assert!(error.contains("holds Float64; a number does not say its unit"), "{error}");
    write(&path, vec![("user_id", texts([Some("a")])), ("timestamp", times([Some(1)]))]);
    let chunk = EntityRows::open(&path, 10).unwrap().next().unwrap().unwrap();
    let error = chunk.join_rows(&["item_id"]).unwrap_err().to_string();
    assert!(
        error.ends_with("has no column 'item_id', which a feature is about; its columns are: user_id, timestamp"),
        "{error}"
    );
}

#[test]
fn an_arrow_file_is_written_and_a_writer_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![numbers([Some(1.0), None])]).unwrap();
    let path = dir.path().join("out.arrow");
    let mut writer = FeatureWriter::create(&path, schema.clone()).unwrap();
    writer.write(&batch).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let mut writer = FeatureWriter::create(&path, schema.clone()).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    let other = RecordBatch::try_from_iter([("y", numbers([None]))]).unwrap();
    assert!(writer.write(&other).unwrap_err().to_string().contains("other columns"));
    assert_eq!(writer.finish().unwrap(), 4);
    let reader = arrow_ipc::reader::FileReader::try_new(std::fs::File::open(&path).unwrap(), None).unwrap();
    let read: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    assert_eq!(read, [batch.clone(), batch]);
}

#[test]
fn a_file_that_cannot_be_written_well_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let field = |name: &str| Field::new(name, DataType::Float64, true);
    let twice = Arc::new(Schema::new(vec![field("x"), field("y"), field("x")]));
    let error = FeatureWriter::create(&dir.path().join("o.parquet"), twice).err().unwrap().to_string();
    assert!(error.contains("would have two columns 'x'; rename"), "{error}");
    let once = Arc::new(Schema::new(vec![field("x")]));
    let error = FeatureWriter::create(&dir.path().join("o.csv"), once.clone()).err().unwrap().to_string();
    assert!(error.ends_with("use .parquet or .arrow"), "{error}");
    let error = FeatureWriter::create(&dir.path().join("none/o.parquet"), once).err().unwrap().to_string();
    assert!(error.starts_with("cannot write "), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
