//! Training as `tastemaker train` runs it: from a log on disk to a generation that serves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ops::ControlFlow;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tastemaker_artifacts::{ENCODER, GenerationStore, INDEX, ITEM_FACTORS, ITEM_IDS, IdList, USER_IDS, Version};
use tastemaker_config::Config;
use tastemaker_log::{EventLog, LogOptions};
use tastemaker_models::{Matrix, QueryEncoder};
use tastemaker_store::index::{HnswIndex, SearchParams, VectorIndex};
use tastemaker_training::{Step, TrainOptions, TrainingError, Verdict, evaluate, export_embeddings, train};
use tastemaker_types::{Event, Record, Timestamp};

const USERS: i64 = 60;
const ITEMS: i64 = 40;

/// Even users like even items and odd users odd ones, each a dozen of them, one a day.
fn tastes() -> Vec<Record> {
    let mut records = Vec::new();
    for day in 0..12 {
        for user in 0..USERS {
            let item = (user % 2) + 2 * ((user * 7 + day * 3) % (ITEMS / 2));
            records.push(click(user, item, day * 86_400_000_000 + user));
        }
    }
    records
}

fn click(user: i64, item: i64, micros: i64) -> Record {
    Record::Event(Event {
        event_id: format!("{user}-{item}-{micros}"),
        event_type: "click".into(),
        user_id: format!("u{user}"),
        item_id: format!("i{item}"),
        timestamp: Timestamp::from_micros(micros),
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Default::default(),
    })
}

fn project(dir: &Path, records: Vec<Record>) -> Config {
    let mut config =
        Config::parse("[embeddings]\nrank = 8\niterations = 6\n[training]\nholdout = 0.3\nmetrics_at = 5").unwrap();
    config.storage.data_dir = dir.to_owned();
    write(&config, records);
    config
}

fn write(config: &Config, records: Vec<Record>) {
    let log = EventLog::open(config.storage.log_dir(), LogOptions::default(), Box::new(|_| {})).unwrap();
    log.append(records).unwrap();
    log.close().unwrap();
}

fn go_on(_: Step) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_log_becomes_a_generation_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    let config = project(dir.path(), tastes());
    let trained = train(&config, TrainOptions::default(), "1.2.3", &mut go_on).unwrap();
    assert_eq!((trained.version, trained.promoted, &trained.verdict), (Version(1), true, &Verdict::Fit));
    let evaluation = trained.evaluation.unwrap();
    let (model, popular) = (evaluation.model["recall@5"], evaluation.popularity["recall@5"]);
    assert!(model > 1.5 * popular, "{model} is not clearly above {popular}");

    let store = GenerationStore::open(config.storage.generations_dir());
    assert_eq!(store.champion().unwrap(), Some(Version(1)));
    let generation = store.load(Version(1)).unwrap();
    let lineage = &generation.manifest().lineage;
    assert_eq!((lineage.log_position.0, lineage.events, lineage.tool_version.as_str()), (720, 720, "1.2.3"));
    assert_eq!(lineage.config_hash, config.config_hash());

    // Every part fits every other: a new user who likes three even items is shown even ones.
    let ids = IdList::read(&generation.file(ITEM_IDS).unwrap()).unwrap();
    let factors = Matrix::from_bytes(generation.map(ITEM_FACTORS).unwrap()).unwrap();
    let encoder = QueryEncoder::from_bytes(&generation.map(ENCODER).unwrap()).unwrap();
    let index = HnswIndex::load(&generation.file(INDEX).unwrap(), None).unwrap();
    assert_eq!((ids.len(), factors.rows(), index.len()), (40, 40, 40));
    let row = |id: &str| ids.iter().position(|other| other == id).unwrap() as u32;
    let history = [(row("i0"), 1.0), (row("i2"), 1.0), (row("i4"), 1.0)];
    let vector = encoder.user_vector(&factors, &history).unwrap();
    let hits = index.search(&vector, 10, None, &SearchParams::default()).unwrap().hits;
    let found: Vec<u32> = hits.iter().map(|hit| ids.get(hit.row as usize).unwrap()[1..].parse().unwrap()).collect();
    assert!(found.iter().all(|item| item % 2 == 0), "{found:?}");
}

#[test]
fn the_same_log_and_seed_make_the_same_vectors_on_any_number_of_threads() {
    let files = |threads| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = project(dir.path(), tastes());
        config.training.threads = threads;
        train(&config, TrainOptions::default(), "0", &mut go_on).unwrap();
        let store = GenerationStore::open(config.storage.generations_dir());
        // The graph of the index is built by threads that meet in no fixed order.
        let files = store.manifest(Version(1)).unwrap().files.into_iter().filter(|file| file.name != INDEX);
        files.map(|file| (file.name, file.sha256)).collect::<Vec<_>>()
    };
    assert_eq!(files(1), files(2));
}

#[test]
fn cancelling_at_any_step_leaves_nothing_and_the_champion_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = project(dir.path(), tastes());
    let mut steps = 0;
    train(&config, TrainOptions::default(), "0", &mut |_| {
        steps += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    let store = GenerationStore::open(config.storage.generations_dir());
    for stop_at in 0..steps {
        let mut seen = 0;
        let result = train(&config, TrainOptions::default(), "0", &mut |_| {
            seen += 1;
            if seen > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(TrainingError::Cancelled)), "step {stop_at} of {steps}");
        assert_eq!(store.versions().unwrap(), [Version(1)]);
        assert_eq!(std::fs::read_dir(store.dir().join("drafts")).unwrap().count(), 0);
    }
    assert_eq!(store.champion().unwrap(), Some(Version(1)));
}

#[test]
fn a_model_worse_than_popularity_is_published_but_not_promoted() {
    // Everybody goes from one of many items, which say nothing, to the one that is popular.
    let dir = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    for user in 0..60 {
        records.push(click(user, 100 + user, user));
        records.push(click(user, 200 + (user * 31) % 60, 100 + user));
        if user < 30 {
            records.push(click(user, 0, 200 + user));
        }
    }
    records.extend((30..60).map(|user| click(user, 0, 1_000 + user)));
    let mut config = project(dir.path(), records);
    config.embeddings.rank = 64;
    config.embeddings.unobserved_weight = 0.0;
    config.training.holdout = 0.2;
    config.training.metrics_at = 1;
    let trained = train(&config, TrainOptions::default(), "0", &mut go_on).unwrap();
    assert!(matches!(&trained.verdict, Verdict::Unfit(reason) if reason.contains("popular")), "{trained:?}");
    assert!(!trained.promoted);
    let store = GenerationStore::open(config.storage.generations_dir());
    assert_eq!(store.champion().unwrap(), None);
    let forced = TrainOptions { force: true, ..TrainOptions::default() };
    assert!(train(&config, forced, "0", &mut go_on).unwrap().promoted);
    assert_eq!(store.champion().unwrap(), Some(Version(2)));
}

#[test]
fn training_goes_on_beside_a_writer_and_sees_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = project(dir.path(), tastes());
    let log = EventLog::open(config.storage.log_dir(), LogOptions::default(), Box::new(|_| {})).unwrap();
    log.append(vec![click(1_000, 0, 5)]).unwrap();
    let options = TrainOptions { holdout: false, ..TrainOptions::default() };
    let trained = train(&config, options, "0", &mut go_on).unwrap();
    assert_eq!((trained.lineage.events, trained.model.users), (721, 61));
    assert_eq!((trained.verdict, trained.evaluation), (Verdict::Unmeasured, None));
    log.close().unwrap();
}

#[test]
fn early_stopping_runs_no_longer_than_it_helps() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = project(dir.path(), tastes());
    config.embeddings.early_stop_patience = 1;
    config.embeddings.iterations = 50;
    config.embeddings.validation_fraction = 0.2;
    let mut planned = 0;
    let options = TrainOptions { holdout: false, ..TrainOptions::default() };
    train(&config, options, "0", &mut |step| {
        if let Step::Fitting { fit: tastemaker_training::Fit::Final, of, .. } = step {
            planned = of;
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!((2..100).contains(&planned), "{planned} half-iterations");
}

#[test]
fn what_cannot_be_trained_on_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::parse("").unwrap();
    config.storage.data_dir = dir.path().to_owned();
    let error = train(&config, TrainOptions::default(), "0", &mut go_on).unwrap_err().to_string();
    assert!(error.contains("no event log"), "{error}");
    write(&config, vec![Record::ItemDelete { id: "x".into(), timestamp: Timestamp::EPOCH }]);
    let error = evaluate(&config, &mut go_on).unwrap_err().to_string();
    assert!(error.contains("1 records in the log") && error.contains("positive = true"), "{error}");
}

#[test]
fn exported_vectors_are_those_of_the_generation() {
    let dir = tempfile::tempdir().unwrap();
    let config = project(dir.path(), tastes());
    train(&config, TrainOptions::default(), "0", &mut go_on).unwrap();
    let generation = GenerationStore::open(config.storage.generations_dir()).load(Version(1)).unwrap();
    let (users, items) = (dir.path().join("out/users.parquet"), dir.path().join("out/items.parquet"));
    let exported = export_embeddings(&generation, Some(&users), Some(&items)).unwrap();
    assert_eq!((exported.users, exported.items, exported.rank), (Some(60), Some(40), 8));

    let factors = Matrix::from_bytes(generation.map(ITEM_FACTORS).unwrap()).unwrap();
    let file = std::fs::File::open(&items).unwrap();
    let mut rows = 0;
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "vector"]);
        let vectors = batch.column(1).as_list::<i32>();
        for row in 0..batch.num_rows() {
            assert_eq!(vectors.value(row).as_primitive::<Float32Type>().values().as_ref(), factors.row(rows));
            rows += 1;
        }
    }
    assert_eq!(rows, 40);
    let ids = IdList::read(&generation.file(USER_IDS).unwrap()).unwrap();
    let batch =
        ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&users).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = batch.map(Result::unwrap).collect();
    let written: Vec<&str> = batches.iter().flat_map(|b| b.column(0).as_string::<i32>().iter().flatten()).collect();
    assert_eq!(written, ids.iter().collect::<Vec<_>>());
}
