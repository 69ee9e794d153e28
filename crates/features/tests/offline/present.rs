//! The features of everybody at the end of a log, against the state that serves.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use tastemaker_config::Entity;
use tastemaker_features::offline::{OfflineError, Present, Shape};
use tastemaker_features::set::{FeatureId, SharedFeatures, Source};
use tastemaker_features::{Cell, OnlineState, ReadPlan, SeenBy, StateOptions, Status, feature_column};
use tastemaker_log::LogReader;
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, Position, Record, Timestamp, UpsertMode, Value, Window};

use crate::common::{PROJECT, Project, at, event, upsert, worth, write_log};
use crate::validate::{Random, record};

fn present(set: &SharedFeatures, log: &Path, end: Position, now: Timestamp) -> Present {
    let log = LogReader::open(log).unwrap();
    Present { set: Arc::clone(set), log, end, now, work_dir: std::env::temp_dir() }
}

fn read(present: &Present, shape: Shape) -> Vec<RecordBatch> {
    let schema = present.schema(shape);
    let batches = present.read(shape, Box::new(|_| Ok(()))).unwrap().map(Result::unwrap);
    batches.inspect(|batch| assert_eq!(batch.schema(), schema)).collect()
}

/// Whom a value is of: user, item, feature.
type Key = (Option<String>, Option<String>, String);

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

/// The text of each value, its bits if it is a number, its status and its time.
type Told = (Option<u64>, String, Option<i64>);

fn told(batches: &[RecordBatch]) -> BTreeMap<(String, Key), Told> {
    let mut told = BTreeMap::new();
    for batch in batches {
        let text = |name: &str| texts(&batch[name]);
        let (entities, users, items, features) = (text("entity"), text("user_id"), text("item_id"), text("feature"));
        let (numbers, statuses) = (batch["number"].as_primitive::<Float64Type>(), text("status"));
        let times = batch["event_timestamp"].as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let key = (users[row].clone(), items[row].clone(), features[row].clone().unwrap());
            let number = numbers.is_valid(row).then(|| numbers.value(row).to_bits());
            let time = times.is_valid(row).then(|| times.value(row));
            let told_before =
                told.insert((entities[row].clone().unwrap(), key), (number, statuses[row].clone().unwrap(), time));
            assert!(told_before.is_none(), "one row for each value");
        }
    }
    told
}

/// The state that serves, with a log applied.
struct Serving {
    state: OnlineState,
    catalog: Arc<Catalog>,
}

impl Serving {
    fn new(set: &SharedFeatures, log: &Path, end: Position) -> Self {
        let catalog = Arc::new(Catalog::new(set.item_attributes().clone()));
        let options = StateOptions {
            events: HashMap::new(),
            history_length: 1,
            seen_length: 1,
            seen_by: SeenBy::Nothing,
            popular_window: Window::from_days(1),
        };
        let state = OnlineState::with_features(options, Arc::clone(&catalog), Arc::clone(set));
        let records: Vec<_> = LogReader::open(log).unwrap().read_from(Position(0)).map(Result::unwrap).collect();
        state.apply(&records[..end.0 as usize]);
        Self { state, catalog }
    }

    fn cell(&self, id: FeatureId, user: Option<&str>, item: Option<&str>, now: Timestamp) -> Cell {
        let plan = ReadPlan::new(self.state.features(), vec![id]);
        let row = item.and_then(|item| self.catalog.snapshot().row(item));
        let fetched = match (user, item) {
            (Some(user), None) => (Entity::User, self.state.fetch_users(&plan, [user].into_iter(), now, None)),
            (None, _) => (Entity::Item, self.state.fetch_items(&plan, &[row], now, None).fetched),
            (Some(user), _) => (Entity::Pair, self.state.fetch_pairs(&plan, [(user, row)].into_iter(), now)),
        };
        let columns = plan.assemble(1, now, &Attributes::new(), &[(fetched.0, &fetched.1)]).unwrap();
        columns.into_iter().next().unwrap().cells.remove(0)
    }
}

#[test]
fn everybody_has_what_an_online_read_gives_whatever_the_log_holds() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(11);
    write_log(dir.path(), (0..6_000).map(|number| record(&mut random, number)).collect());
    let end = Position(LogReader::open(dir.path()).unwrap().end().unwrap().0 - 100);
    let now = at(58);
    let (present, serving) = (present(&project.set, dir.path(), end, now), Serving::new(&project.set, dir.path(), end));
    let told = told(&read(&present, Shape::Values));
    let ids = |what: &str, many: usize| (0..many).map(|n| format!("{what} {n}")).collect::<Vec<_>>();
    let (users, items) = (ids("user", 30), ids("item", 40));

    let mut expected = BTreeMap::new();
    let mut of_pairs = 0;
    for (number, feature) in project.set.features().iter().enumerate() {
        if feature.source == Source::Embedding || feature.name == "dear" {
            continue;
        }
        let entities: Vec<(Option<&String>, Option<&String>)> = match feature.entity {
            Entity::User => users.iter().map(|user| (Some(user), None)).collect(),
            Entity::Item => items.iter().map(|item| (None, Some(item))).collect(),
            Entity::Pair => {
                users.iter().flat_map(|user| items.iter().map(move |item| (Some(user), Some(item)))).collect()
            }
        };
        for (user, item) in entities {
            let cell = serving.cell(FeatureId(number), user.map(String::as_str), item.map(String::as_str), now);
            let key = (feature.entity.name().to_owned(), (user.cloned(), item.cloned(), feature.name.clone()));
            // An expression has a status for whomever nothing is known of, too; they are in no table.
            let unknown = matches!(feature.source, Source::Expression(_)) && !told.contains_key(&key);
            if cell.status == Status::NotFound || unknown {
                continue;
            }
            of_pairs += usize::from(feature.entity == Entity::Pair);
            let array = feature_column(feature.value_type, std::slice::from_ref(&cell));
            let number = array.as_primitive_opt::<Float64Type>().filter(|numbers| numbers.is_valid(0));
            let time = cell.event_time.map(|at| at.as_micros());
            expected.insert(key, (number.map(|number| number.value(0).to_bits()), cell.status.name().to_owned(), time));
        }
    }
    assert!(expected.len() > 500 && of_pairs > 100, "{} values, {of_pairs} of pairs", expected.len());
    assert_eq!(told, expected);

    for entity in [Entity::User, Entity::Item, Entity::Pair] {
        let mut rows = 0;
        for batch in read(&present, Shape::Entities(entity)) {
            let id = |name: &str, row: usize| batch.column_by_name(name).map(|ids| texts(ids)[row].clone().unwrap());
            for row in 0..batch.num_rows() {
                let (user, item) = (id("user_id", row), id("item_id", row));
                rows += 1;
                let keys = 1 + usize::from(entity == Entity::Pair);
                for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(keys) {
                    let found = project.set.named(entity, field.name()).unwrap();
                    let cell = serving.cell(found, user.as_deref(), item.as_deref(), now);
                    let kind = project.set.feature(found).unwrap().value_type;
                    let expected = feature_column(kind, std::slice::from_ref(&cell));
                    assert_eq!(&column.slice(row, 1), &expected, "{} of {user:?} {item:?}", field.name());
                }
            }
        }
        let known = told.keys().filter(|(kind, _)| kind == entity.name()).map(|(_, (user, item, _))| (user, item));
        assert_eq!(rows, known.collect::<std::collections::BTreeSet<_>>().len(), "of {}", entity.name());
    }
}

#[test]
fn what_is_known_is_as_of_the_end_and_of_nobody_who_was_deleted() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let price = upsert("tea", &[("price", Value::Number(4.0))], UpsertMode::Merge, at(0));
    let country = upsert("ann", &[("country", Value::Text("ch".to_owned()))], UpsertMode::Merge, at(0));
    let delete = Record::UserDelete { id: "bob".to_owned(), timestamp: at(3) };
    let records = vec![
        Record::ItemUpsert(price),
        Record::UserUpsert(country),
        event(1, "purchase", "ann", "tea", at(1)),
        event(2, "click", "bob", "tea", at(2)),
        delete,
        worth("cat", at(1), None, 7.0),
        event(3, "purchase", "ann", "tea", at(4)),
    ];
    write_log(dir.path(), records);
    let present = present(&project.set, dir.path(), Position(6), at(90));
    let cells = |shape: Shape, columns: &[&str]| -> Vec<String> {
        let mut rows = Vec::new();
        for batch in read(&present, shape) {
            let columns: Vec<_> = columns.iter().map(|name| texts(&batch[*name])).collect();
            let row =
                |row: usize| columns.iter().map(|column| column[row].clone().unwrap_or_default()).collect::<Vec<_>>();
            rows.extend((0..batch.num_rows()).map(|n| row(n).join(" ")));
        }
        rows.sort();
        rows
    };
    assert_eq!(
        cells(Shape::Values, &["entity", "user_id", "item_id", "view", "feature", "value", "status"]),
        [
            "item  tea item purchases_per_click  NULL_VALUE",
            "user ann  user at_home true PRESENT",
            "user ann  user latest [\"tea\"] PRESENT",
            "user ann  user spent 4 PRESENT",
            "user cat  worth segment  OUTSIDE_MAX_AGE",
            "user cat  worth taste  OUTSIDE_MAX_AGE",
            "user cat  worth value  OUTSIDE_MAX_AGE",
        ]
    );
    assert_eq!(cells(Shape::Entities(Entity::User), &["user_id"]), ["ann", "cat"]);
}

#[test]
fn whoever_has_no_memory_for_it_ends_it_with_their_own_error() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), (0..2_000).map(|n| event(n, "click", &format!("user {n}"), "tea", at(1))).collect());
    let present = present(&project.set, dir.path(), Position(2_000), at(2));
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let hold = Box::new(move |bytes| {
        seen.fetch_max(bytes, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
    let rows: usize = present.read(Shape::Entities(Entity::User), hold).unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 2_000);
    let most = most.load(std::sync::atomic::Ordering::Relaxed);
    assert!((2_000 * 40..2_000 * 200).contains(&most), "{most}");
    let refuse = Box::new(|bytes| match bytes {
        0..50_000 => Ok(()),
        _ => Err(ArrowError::MemoryError("no".to_owned())),
    });
    let error = present.read(Shape::Values, refuse).and_then(|mut rows| rows.find_map(Result::err).map_or(Ok(()), Err));
    assert!(matches!(error, Err(OfflineError::Stopped(ArrowError::MemoryError(_)))), "{error:?}");
}
