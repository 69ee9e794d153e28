//! Queries over a project's tables, answered by the embedded engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use common::{event, records, tables, upsert};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tastemaker_log::LogError;
use tastemaker_sql::output::{OutputError, cells, write_json, write_parquet};
use tastemaker_sql::{BatchEngine, DataFusionEngine, Hold, Limits, QueryError, Rows, Table};
use tastemaker_types::{Record, Timestamp, UpsertMode};
use tempfile::TempDir;

const LIMITS: Limits = Limits { memory_bytes: 256 << 20, rows: None, cancelled: || false };

struct Project {
    _dir: TempDir,
    engine: DataFusionEngine,
}

impl Project {
    fn new(records: Vec<Record>) -> Self {
        let (dir, tables) = tables(records);
        let mut engine = DataFusionEngine::new().unwrap();
        tables.into_iter().for_each(|(name, table)| engine.register(name, table));
        Self { _dir: dir, engine }
    }

    fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        self.engine.query(sql, &LIMITS)
    }

    /// All cells as text: `a b|c d`.
    #[track_caller]
    fn cells(&self, sql: &str) -> String {
        let rows = self.query(sql).unwrap().flat_map(|batch| cells(&batch.unwrap()).unwrap());
        rows.map(|row| row.join(" ")).collect::<Vec<_>>().join("|")
    }

    /// Why the query has no answer.
    #[track_caller]
    fn error(&self, sql: &str) -> String {
        let error = match self.query(sql) {
            Err(error) => error,
            Ok(mut rows) => rows.find_map(Result::err).unwrap(),
        };
        assert!(!error.to_string().contains('\n'), "{error}");
        error.to_string()
    }
}

#[test]
fn tables_are_joined_grouped_and_sorted() {
    let project = Project::new(records());
    assert_eq!(project.cells("select count(*), count(value), max(value) from events"), "4 1 12.25");
    assert_eq!(
        project.cells("select type, count(*) as n from events group by type order by n desc, type"),
        "click 2|impression 1|purchase 1"
    );
    assert_eq!(
        project.cells(
            "select r.item_id, r.position, e.type, u.country, i.price from recommendations r
             join events e using (request_id, item_id) join users u on u.id = e.user_id join items i on i.id = r.item_id"
        ),
        "🛋️ 1 purchase 中国 199.5"
    );
    assert_eq!(project.cells("select id, price from items where price > 9 order by id"), "🛋️ 199.5");
}

#[test]
fn every_type_of_attribute_is_compared_as_what_it_is() {
    let project = Project::new(records());
    let ids = |condition: &str| project.cells(&format!("select id from items where {condition} order by id"));
    assert_eq!(ids("brand = 'Ånd'"), "🛋️");
    assert_eq!(ids("array_has(\"Genres\", 'b')"), "🛋️");
    assert_eq!(ids("title like 'L%'"), "lamp");
    assert_eq!(ids("price between 9 and 10"), "lamp");
    assert_eq!(ids("not sold"), "lamp");
    assert_eq!(ids("made < '1970-01-01'"), "🛋️");
    assert_eq!(ids("price is null"), "rug");
    assert_eq!(project.cells("select unnest(\"Genres\") from items order by 1"), "a|b");
}

#[test]
fn times_are_instants_and_ids_are_unicode() {
    let project = Project::new(records());
    assert_eq!(
        project.cells("select timestamp from events where user_id = '用户'"),
        "2026-01-02T03:04:06Z",
        "one second after the first"
    );
    assert_eq!(project.cells("select count(*) from events where timestamp >= '2026-01-02T03:04:07Z'"), "2");
    assert_eq!(project.cells("select distinct date_trunc('day', timestamp) from events"), "2026-01-02T00:00:00Z");
    assert_eq!(project.cells("select character_length(user_id) from events where event_id = 'e1'"), "2");
}

#[test]
fn the_tables_and_their_columns_can_be_asked_for() {
    let project = Project::new(records());
    let shown = project.cells("show tables");
    for table in ["events", "items", "users", "recommendations"] {
        assert!(shown.contains(&format!("tastemaker public {table} BASE TABLE")), "{shown}");
    }
    assert_eq!(project.cells("describe users"), "id Utf8 NO|country Utf8 YES");
    assert!(project.cells("explain select id from items").contains("projection=[id]"), "the scan reads one column");
}

#[test]
fn a_slip_is_found_with_its_place_and_what_was_meant() {
    let project = Project::new(records());
    let error = project.error("select prise\nfrom items");
    assert!(error.contains("line 1, column 8") && error.contains("Did you mean 'items.price'?"), "{error}");
    let error = project.error("select id from\n  item");
    assert!(error.contains("line 2, column 3: there is no table 'item'; did you mean 'items'?"), "{error}");
    let error = project.error("select genres from items");
    assert!(error.contains("items.\"Genres\"") && !error.contains("datafusion."), "{error}");
    let error = project.error("selec id from items");
    assert!(error.contains("Line: 1, Column: 1"), "{error}");
    let error = project.error("select mediann(price) from items");
    assert!(error.contains("median"), "{error}");
    let error = project.error("select cast(id as double) from items");
    assert!(error.starts_with("the query failed: ") && error.contains("'lamp'"), "{error}");
}

#[test]
fn nothing_but_one_statement_that_reads_is_run() {
    let project = Project::new(records());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.csv");
    let copy = format!("copy (select 1) to '{}'", file.display());
    let external = format!("create external table t stored as csv location '{}'", file.display());
    for sql in [
        "create table t as select * from items",
        "create view v as select * from items",
        &external,
        "drop table items",
        "insert into items values ('a')",
        "delete from items",
        "update items set price = 1",
        "truncate table items",
        "set datafusion.execution.batch_size = 1",
        "reset datafusion.execution.batch_size",
        &copy,
        "begin",
        "explain analyze create table t as select 1",
        "prepare q as select 1",
        "select 1; select 2",
        "",
        "-- nothing",
    ] {
        let error = project.query(sql).err();
        assert!(matches!(error, Some(QueryError::ReadOnly { .. })), "{sql}: {error:?}");
    }
    assert!(project.error("drop table items").starts_with("DROP is no query; only one statement that reads is run"));
    assert!(!file.exists());
    // What hides inside of a query is refused too.
    for sql in ["with x as (select 1) insert into items select * from x", "select * into t from items"] {
        assert!(project.query(sql).is_err(), "{sql}");
    }
    assert!(project.query("select * from '/etc/passwd'").is_err());
    assert_eq!(project.cells("select count(*) from items;"), "3");
}

#[test]
fn the_answer_is_cut_at_the_limit() {
    let project = Project::new(records());
    let limits = Limits { rows: Some(2), ..LIMITS };
    for sql in ["select * from events", "select id from items order by price desc", "values (1), (2), (3)"] {
        let rows: usize = project.engine.query(sql, &limits).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 2, "{sql}");
    }
    assert!(project.engine.query("explain select 1", &limits).unwrap().all(|batch| batch.is_ok()));
}

#[test]
fn a_query_that_wants_more_memory_than_it_may_have_says_so() {
    let items = (0..2_000).map(|n| {
        let title = common::text(&"x".repeat(1_000));
        Record::ItemUpsert(upsert(&format!("i{n}"), UpsertMode::Replace, &[("title", title)]))
    });
    let project = Project::new(items.collect());
    let limits = Limits { memory_bytes: 1 << 20, ..LIMITS };
    let rows = project.engine.query("select title from items", &limits).unwrap();
    let error = rows.filter_map(Result::err).next().unwrap();
    assert!(matches!(error, QueryError::Memory { limit_bytes: 1_048_576, .. }), "{error}");
    assert!(error.to_string().contains("the table items"), "{error}");
    let rows = project.engine.query("select count(id) from items", &limits).unwrap();
    assert!(rows.map(Result::unwrap).all(|batch| batch.num_rows() == 1), "the ids alone fit");
}

#[test]
fn a_sort_goes_on_in_temporary_files_where_memory_ends() {
    let project = Project::new((0..60_000).map(|n| Record::Event(event(n, "click", "ann", "lamp"))).collect());
    let limits = Limits { memory_bytes: 24 << 20, ..LIMITS };
    let sql = "select *, event_id || repeat('x', 300) as wide from events order by wide desc";
    let rows = project.engine.query(sql, &limits).unwrap().map(Result::unwrap);
    let ids: Vec<_> = rows
        .flat_map(|batch| {
            batch["event_id"].as_string::<i32>().iter().map(|id| id.unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids.len(), 60_000);
    assert!(ids.is_sorted_by_key(|id| std::cmp::Reverse(format!("{id}x"))));
}

#[test]
fn a_running_query_ends_soon_after_it_is_cancelled() {
    static CANCELLED: AtomicBool = AtomicBool::new(false);
    let project = Project::new(records());
    let limits = Limits { cancelled: || CANCELLED.load(Ordering::Relaxed), ..LIMITS };
    let endless = "select count(*) from generate_series(1, 4000000000000) a join events on a.value % 7 < 9";
    let mut rows = project.engine.query(endless, &limits).unwrap();
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(200));
        CANCELLED.store(true, Ordering::Relaxed);
    });
    let started = Instant::now();
    assert!(matches!(rows.next(), Some(Err(QueryError::Cancelled))));
    assert!(rows.next().is_none());
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn damage_in_the_log_is_told_as_the_log_tells_it() {
    let (dir, tables) = tables(records());
    let mut engine = DataFusionEngine::new().unwrap();
    tables.into_iter().for_each(|(name, table)| engine.register(name, table));
    // One byte of the first record, with the second frame behind it.
    let log =
        tastemaker_log::EventLog::open(dir.path(), tastemaker_log::LogOptions::default(), Box::new(|_| {})).unwrap();
    log.append(vec![Record::Event(event(100, "click", "ann", "lamp"))]).unwrap();
    drop(log);
    let segment = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for table in ["events", "items"] {
        let mut rows = engine.query(&format!("select * from {table}"), &LIMITS).unwrap();
        let error = rows.find_map(Result::err);
        assert!(matches!(error, Some(QueryError::Log(LogError::Corrupt { .. }))), "{error:?}");
    }
}

#[test]
fn an_answer_as_parquet_reads_back_the_same() {
    let project = Project::new(records());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/items.parquet");
    for _ in 0..2 {
        let written = write_parquet(project.query("select * from items order by id").unwrap(), &path).unwrap();
        assert_eq!((written.rows, written.bytes), (3, std::fs::metadata(&path).unwrap().len()));
    }
    let file = std::fs::File::open(&path).unwrap();
    let read: Vec<RecordBatch> =
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect();
    let asked: Vec<RecordBatch> =
        project.query("select * from items order by id").unwrap().map(Result::unwrap).collect();
    assert_eq!(read, asked);
    assert_eq!(read[0]["made"].as_primitive::<TimestampMicrosecondType>().value(2), -1);
    assert_eq!(std::fs::read_dir(folder.path().join("made")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_query_that_fails_leaves_the_file_that_was_there() {
    let project = Project::new(records());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    std::fs::write(&path, "before").unwrap();
    let rows = project.query("select cast(id as double) from items").unwrap();
    assert!(matches!(write_parquet(rows, &path), Err(OutputError::Query(QueryError::Failed { .. }))));
    let rows = project.query("select a.id, b.id from items a join items b on a.id = b.id").unwrap();
    let error = write_parquet(rows, &path).unwrap_err();
    assert!(matches!(&error, OutputError::SameName { name } if name == "id"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_moment_can_be_added_to_every_row() {
    let project = Project::new(records());
    let rows = project.query("select id from items order by id").unwrap();
    let rows = rows.with_time("at", Timestamp::from_micros(-1));
    assert_eq!(rows.schema().field(1).name(), "at");
    let cells: Vec<_> = rows.flat_map(|batch| cells(&batch.unwrap()).unwrap()).collect();
    assert_eq!(cells, ["lamp", "rug", "🛋️"].map(|id| [id, "1969-12-31T23:59:59.999999Z"]));
}

#[test]
fn an_answer_as_json_has_every_column_in_every_row() {
    let project = Project::new(records());
    let mut out = vec![];
    let sql = "select id, price, sold, made, \"Genres\" from items order by id desc";
    write_json(project.query(sql).unwrap(), &mut out).unwrap();
    let rows: Vec<serde_json::Value> =
        std::str::from_utf8(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows,
        [
            serde_json::json!({"id": "🛋️", "price": 199.5, "sold": true, "made": "1969-12-31T23:59:59.999999Z", "Genres": ["a", "b"]}),
            serde_json::json!({"id": "rug", "price": null, "sold": null, "made": null, "Genres": null}),
            serde_json::json!({"id": "lamp", "price": 9.0, "sold": false, "made": null, "Genres": null}),
        ]
    );
    let mut out = vec![];
    write_json(project.query("select id from items where false").unwrap(), &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn a_value_cannot_speak_to_the_terminal() {
    let project = Project::new(vec![Record::Event(event(0, "click", "\u{1b}[31mann\tb\nc", "lamp"))]);
    assert_eq!(project.cells("select user_id from events"), "\\u{1b}[31mann\\tb\nc");
}

/// Numbers from 0 on, as somebody else's table.
#[derive(Debug)]
struct Numbers(usize);

impl Table for Numbers {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Float64, false), Field::new("text", DataType::Utf8, true)]))
    }

    fn scan(&self, columns: &[usize], _: Hold) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
        let schema = self.schema();
        let numbers = arrow_array::Float64Array::from_iter_values((0..self.0).map(|n| n as f64));
        let texts = arrow_array::StringArray::from_iter_values((0..self.0).map(|n| n.to_string()));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(texts)])?.project(columns)?;
        let schema = batch.schema();
        Ok(Box::new(arrow_array::RecordBatchIterator::new([Ok(batch)], schema)))
    }
}

#[test]
fn other_tables_are_registered_beside_those_of_the_project() {
    let mut project = Project::new(records());
    project.engine.register("numbers", Arc::new(Numbers(10)));
    let mut rows = project.query("select sum(n) as sum from numbers, items where n < price").unwrap();
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(batch["sum"].as_primitive::<Float64Type>().value(0), 36.0 + 45.0);
    project.engine.register("numbers", Arc::new(Numbers(3)));
    assert_eq!(project.cells("select max(text) from numbers"), "2", "a later table of the same name takes its place");
}
