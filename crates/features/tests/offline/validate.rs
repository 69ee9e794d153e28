//! Validation: what answers were made with while the state changed under them is what the log comes to.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use tastemaker_config::Entity;
use tastemaker_features::offline::{OfflineError, ServedRows, Validation, ValidationOptions};
use tastemaker_features::set::{FeatureId, SharedFeatures};
use tastemaker_features::{OnlineState, ReadPlan, SeenBy, StateOptions};
use tastemaker_log::{EventLog, LogOptions, LogReader};
use tastemaker_store::Catalog;
use tastemaker_types::{
    Attributes, FeatureValue, Position, Record, Served, ServedFeatures, ServedItem, Timestamp, UpsertMode, Value,
    Window,
};

use crate::common::{PROJECT, Project, at, event, upsert, worth, write_log};

/// All that is declared and can be computed from the log.
const NAMES: [&str; 10] = [
    "clicks_30m",
    "spent",
    "by_category",
    "latest",
    "purchases_per_click",
    "pair.clicks",
    "dear",
    "at_home",
    "worth:value",
    "worth:taste",
];

/// The state that serves, and what a server does with it.
struct Shop {
    state: OnlineState,
    catalog: Arc<Catalog>,
    wanted: Vec<FeatureId>,
}

impl Shop {
    fn new(set: &SharedFeatures) -> Arc<Self> {
        let catalog = Arc::new(Catalog::new(set.item_attributes().clone()));
        let options = StateOptions {
            events: HashMap::new(),
            history_length: 10,
            seen_length: 10,
            seen_by: SeenBy::Anything,
            popular_window: Window::from_days(1),
        };
        let state = OnlineState::with_features(options, Arc::clone(&catalog), Arc::clone(set));
        let wanted = NAMES.iter().map(|name| set.by_reference(name).unwrap()).collect();
        Arc::new(Self { state, catalog, wanted })
    }

    fn answer(&self, request_id: String, user: &str, items: &[String], now: Timestamp) -> Served {
        let set = self.state.features();
        let plan = ReadPlan::new(set, self.wanted.clone());
        let rows: Vec<Option<u32>> = items.iter().map(|item| self.catalog.snapshot().row(item)).collect();
        let users = self.state.fetch_users(&plan, [user].into_iter(), now, None);
        let of_items = self.state.fetch_items(&plan, &rows, now, None);
        let pairs =
            self.state.fetch_pairs(&plan, rows.iter().map(|row| (user, *row)).collect::<Vec<_>>().into_iter(), now);
        let context = Attributes::new();
        let fetched = [(Entity::User, &users), (Entity::Item, &of_items.fetched), (Entity::Pair, &pairs)];
        let columns = plan.assemble(items.len(), now, &context, &fetched).unwrap();
        let name = |id| {
            let feature = set.feature(id).unwrap();
            format!("{}.{}", feature.entity.name(), feature.name)
        };
        let fingerprints = columns.iter().map(|column| set.fingerprint(column.id)).collect();
        let values = columns
            .into_iter()
            .map(|column| (name(column.id), column.cells.into_iter().map(|cell| cell.value).collect()))
            .collect();
        Served {
            request_id,
            user_id: user.to_owned(),
            timestamp: now,
            generation: None,
            items: items.iter().map(|item| ServedItem { item_id: item.clone(), score: 1.0 }).collect(),
            degraded: Vec::new(),
            features: Some(ServedFeatures {
                user_version: users.versions[0],
                catalog_version: of_items.catalog_version,
                item_versions: of_items.fetched.versions.clone(),
                pair_versions: pairs.versions.clone(),
                context,
                values,
                fingerprints,
            }),
        }
    }
}

/// Marsaglia's xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn user(random: &mut Random) -> String {
    format!("user {}", random.below(30))
}

fn item(random: &mut Random) -> String {
    format!("item {}", random.below(40))
}

/// Anything that a log may hold: events out of order, late and twice, changes of items and users, pushed rows, deletions.
pub(crate) fn record(random: &mut Random, number: usize) -> Record {
    let late = if random.below(4) == 0 { random.below(600) as i64 } else { random.below(3) as i64 };
    let when = at(number as i64 / 100 - late);
    let mode = if random.below(2) == 0 { UpsertMode::Replace } else { UpsertMode::Merge };
    match random.below(100) {
        0..=79 => {
            let kind = ["click", "click", "purchase", "impression"][random.below(4) as usize];
            // Some of the ids come again.
            let number = if random.below(10) == 0 { number.saturating_sub(50) } else { number };
            event(number, kind, &user(random), &item(random), when)
        }
        80..=88 => {
            let mut attributes = vec![("price", Value::Number(random.below(50) as f64 / 3.0))];
            if random.below(2) == 0 {
                attributes.push(("category", Value::Text(format!("c{}", random.below(4)))));
            }
            Record::ItemUpsert(upsert(&item(random), &attributes, mode, when))
        }
        89..=92 => {
            let country = ["ch", "li", "at"][random.below(3) as usize];
            let country = [("country", Value::Text(country.to_owned()))];
            Record::UserUpsert(upsert(&user(random), &country, mode, when))
        }
        93..=97 => worth(&user(random), when, Some(at(number as i64 / 100)), random.below(100) as f64 / 7.0),
        98 => Record::UserDelete { id: user(random), timestamp: when },
        _ => Record::ItemDelete { id: item(random), timestamp: when },
    }
}

fn validate(set: &SharedFeatures, log: &Path, sample: f64) -> Validation {
    let options = ValidationOptions { sample, since: None, from: Position(0) };
    Validation::run(set, &LogReader::open(log).unwrap(), &options, |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_hundred_thousand_values_that_were_served_while_the_state_changed_are_what_the_log_comes_to() {
    let project = Project::new(PROJECT);
    let shop = Shop::new(&project.set);
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { unsynced_records: 1_000_000, ..LogOptions::default() };
    let applied = Arc::clone(&shop);
    let log = EventLog::open(dir.path(), options, Box::new(move |records| applied.state.apply(records))).unwrap();
    let (ended, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    // An answer finds rows first and reads features of them later: an item that became known in between would be none to it.
    let items = (0..40).map(|n| Record::ItemUpsert(upsert(&format!("item {n}"), &[], UpsertMode::Merge, at(0))));
    log.append(items.collect()).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..3u64 {
            let (shop, log, ended, answers) = (&shop, &log, &ended, &answers);
            scope.spawn(move || {
                let mut random = Random(reader + 1);
                while !ended.load(Ordering::Relaxed) || answers.load(Ordering::Relaxed) < 1_200 {
                    let number = answers.fetch_add(1, Ordering::Relaxed);
                    let items: Vec<String> = (0..10).map(|_| item(&mut random)).collect();
                    let position = shop.state.position().map_or(0, |position| position.0) as i64;
                    // Also times before the latest events.
                    let now = at(position / 100 + random.below(20) as i64 - 10);
                    let served = shop.answer(format!("r{number}"), &user(&mut random), &items, now);
                    log.append_unsynced(vec![Record::Served(served)]);
                    // Slower than the writer, or the log were answers alone.
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
        }
        let mut random = Random(77);
        let records: Vec<Record> = (0..20_000).map(|number| record(&mut random, number)).collect();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let (call, later) = rest.split_at((1 + random.below(200) as usize).min(rest.len()));
            log.append(call.to_vec()).unwrap();
            rest = later;
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(log.stats().dropped_unsynced, 0);
    log.close().unwrap();

    let validation = validate(&project.set, dir.path(), 1.0);
    assert!(validation.missed.is_empty() && validation.skipped.is_empty(), "{validation:#?}");
    assert_eq!(validation.answers, answers.load(Ordering::Relaxed));
    assert_eq!((validation.compared, validation.with_values), (validation.answers, validation.answers));
    assert!(validation.values >= 100_000, "{} values", validation.values);
    assert_eq!(validation.mismatches, 0, "{:#?}", validation.features);
    for (name, feature) in &validation.features {
        let known = feature.compared - feature.replayed_nulls;
        assert!(known > feature.compared / 20, "{name} has {known} values of {}: is it tested?", feature.compared);
    }
    let half = validate(&project.set, dir.path(), 0.5).compared as f64 / validation.answers as f64;
    assert!((0.4..0.6).contains(&half), "{half} of the answers are about a half");

    // For training: the same values as they were logged, of features that were asked for later.
    let spent = project.set.by_reference("spent").unwrap();
    let rows = ServedRows::new(&project.set, &[spent], false, None);
    let mut replayed: Vec<Option<f64>> = Vec::new();
    let report = rows
        .write(
            &LogReader::open(dir.path()).unwrap(),
            |batch| {
                replayed.extend(batch.column_by_name("spent").unwrap().as_primitive::<Float64Type>());
                Ok::<_, OfflineError>(())
            },
            |_| ControlFlow::Continue(()),
        )
        .unwrap();
    assert_eq!((report.answers + report.forgotten, report.rows), (validation.answers, report.answers * 10));
    assert!(report.answers > 100 && report.forgotten > 100, "{report:?}");
    let records = || LogReader::open(dir.path()).unwrap().read_from(Position(0)).map(Result::unwrap);
    let deleted: HashMap<String, Position> = records()
        .filter_map(|(position, record)| match record {
            Record::UserDelete { id, .. } => Some((id, position)),
            _ => None,
        })
        .collect();
    let mut logged: Vec<Option<f64>> = Vec::new();
    for (position, record) in records() {
        let Record::Served(served) = record else { continue };
        if deleted.get(&served.user_id).is_some_and(|deleted| *deleted > position) {
            continue;
        }
        let features = served.features.unwrap();
        let (_, spent) = features.values.into_iter().find(|(name, _)| name == "user.spent").unwrap();
        logged.extend(spent.into_iter().map(|value| match value {
            Some(FeatureValue::Number(number)) => Some(number),
            _ => None,
        }));
    }
    assert!(replayed == logged);
}

/// A log with two answers about ann, changed by `change` before it is written.
fn log_of_answers(project: &Project, dir: &Path, change: impl Fn(&mut ServedFeatures)) {
    let shop = Shop::new(&project.set);
    let mut records = vec![
        Record::ItemUpsert(upsert("tea", &[("price", Value::Number(4.0))], UpsertMode::Replace, at(0))),
        event(0, "click", "ann", "tea", at(1)),
        event(1, "purchase", "ann", "tea", at(2)),
    ];
    let positioned: Vec<_> = (0..).map(tastemaker_types::Position).zip(records.clone()).collect();
    shop.state.apply(&positioned);
    for request in ["r1", "r2"] {
        let mut served = shop.answer(request.to_owned(), "ann", &["tea".to_owned(), "pot".to_owned()], at(3));
        if request == "r2" {
            change(served.features.as_mut().unwrap());
        }
        records.push(Record::Served(served));
    }
    write_log(dir, records);
}

#[test]
fn one_wrong_bit_is_told_with_its_answer() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    log_of_answers(&project, dir.path(), |features| {
        let (_, values) = features.values.iter_mut().find(|(name, _)| name == "user.spent").unwrap();
        values[1] = Some(FeatureValue::Number(4.0f64.next_up()));
    });
    let validation = validate(&project.set, dir.path(), 1.0);
    assert_eq!((validation.compared, validation.mismatches), (2, 1));
    let spent = &validation.features["user.spent"];
    assert_eq!((spent.compared, spent.mismatches), (4, 1));
    assert_eq!(spent.largest_difference, Some(4.0f64.next_up() - 4.0));
    let first = spent.first.as_ref().unwrap();
    assert_eq!((first.request_id.as_str(), first.item_id.as_str()), ("r2", "pot"));
    assert_eq!(first.replayed, Some(FeatureValue::Number(4.0)));
    let others: u64 = validation.features.values().map(|feature| feature.mismatches).sum();
    assert_eq!(others, 1);
}

#[test]
fn embeddings_of_served_rows_are_those_that_were_logged() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    let vector = FeatureValue::Vector(vec![0.5, -1.0]);
    log_of_answers(&project, dir.path(), |features| {
        features.values.push(("user.user_embedding".to_owned(), vec![Some(vector.clone()), None]));
    });
    let embedding = project.set.by_reference("user_embedding").unwrap();
    let rows = ServedRows::new(&project.set, &[embedding], true, None);
    let (mut vectors, mut statuses) = (Vec::new(), Vec::new());
    let write = |batch: &arrow_array::RecordBatch| {
        let column = batch.column_by_name("user_embedding").unwrap().as_list::<i32>();
        vectors.extend(column.iter().map(|list| list.map(|l| l.as_primitive::<Float32Type>().values().to_vec())));
        let column = batch.column_by_name("user_embedding__status").unwrap().as_string::<i32>();
        statuses.extend(column.iter().map(|status| status.unwrap().to_owned()));
        Ok::<_, OfflineError>(())
    };
    let log = LogReader::open(dir.path()).unwrap();
    let report = rows.write(&log, write, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(vectors, [None, None, Some(vec![0.5, -1.0]), None], "it was logged with the second answer alone");
    assert_eq!(statuses, ["NOT_FOUND", "NOT_FOUND", "PRESENT", "NOT_FOUND"]);
    assert_eq!(report.not_logged.into_iter().collect::<Vec<_>>(), [("user.user_embedding".to_owned(), 2)]);
}

#[test]
fn answers_to_users_who_were_deleted_are_left_out() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    log_of_answers(&project, dir.path(), |_| ());
    let spent = project.set.by_reference("user.spent").unwrap();
    let rows = ServedRows::new(&project.set, &[spent], false, None);
    let write =
        |log: &LogReader| rows.write(log, |_| Ok::<_, OfflineError>(()), |_| ControlFlow::Continue(())).unwrap();
    let before = write(&LogReader::open(dir.path()).unwrap());
    assert!(before.answers > 0 && before.forgotten == 0, "{before:?}");
    write_log(dir.path(), vec![Record::UserDelete { id: "ann".to_owned(), timestamp: at(4) }]);
    let after = write(&LogReader::open(dir.path()).unwrap());
    assert_eq!((after.answers, after.forgotten), (0, before.answers), "{after:?}");
}

#[test]
fn what_cannot_be_compared_is_told_with_the_reason() {
    let project = Project::new(PROJECT);
    let dir = tempfile::tempdir().unwrap();
    log_of_answers(&project, dir.path(), |features| {
        features.values.push(("user.user_embedding".to_owned(), vec![None, None]));
        features.values.push(("user.gone".to_owned(), vec![None, None]));
    });
    let changed = Project::new(&PROJECT.replace("window = \"30m\"", "window = \"40m\""));
    let validation = validate(&changed.set, dir.path(), 1.0);
    let reason = |name: &str| (validation.skipped[name].values, validation.skipped[name].reason.as_str());
    assert_eq!(reason("user.clicks_30m"), (4, "it was declared otherwise then"));
    assert_eq!(reason("user.user_embedding"), (2, "it comes from a generation, not from the log"));
    assert_eq!(reason("user.gone"), (2, "it is declared no more"));
    assert_eq!(validation.skipped.len(), 3);
    assert_eq!((validation.compared, validation.mismatches), (2, 0));
    assert!(!validation.features.contains_key("user.clicks_30m"));

    // A version that an answer cannot have seen.
    let dir = tempfile::tempdir().unwrap();
    log_of_answers(&project, dir.path(), |features| features.user_version = Some(tastemaker_types::Position(1_000)));
    let validation = validate(&project.set, dir.path(), 1.0);
    assert_eq!((validation.compared, validation.missed.values().sum::<u64>()), (1, 1));
}
