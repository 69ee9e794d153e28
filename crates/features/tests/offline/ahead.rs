//! Clocks that run ahead: what is read online is what features of the past are at the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use proptest::prelude::*;
use tastemaker_config::Entity;
use tastemaker_features::{Cell, OnlineState, ReadPlan, SeenBy, StateOptions};
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, FeatureValue, Position, Record, Timestamp, UpsertMode, Value, Window};

use crate::common::{PROJECT, Project, at, event, upsert, worth, write_log};
use crate::historical::{NAMES, value, write_rows};

const USERS: [&str; 2] = ["ann", "bob"];
const ITEMS: [&str; 2] = ["tea", "pot"];

/// Something that is written some minutes after what was before it, with a time that is some minutes from then.
fn step() -> impl Strategy<Value = (u8, usize, usize, i64, i64)> {
    (0..40u8, 0..2usize, 0..2usize, 0..6i64, prop_oneof![-20..=0i64, 0..90i64])
}

fn online(set: &tastemaker_features::set::SharedFeatures, records: &[Record]) -> (OnlineState, Arc<Catalog>) {
    let catalog = Arc::new(Catalog::new(set.item_attributes().clone()));
    let options = StateOptions {
        events: HashMap::new(),
        history_length: 1,
        seen_length: 1,
        seen_by: SeenBy::Nothing,
        popular_window: Window::from_days(1),
    };
    let state = OnlineState::with_features(options, Arc::clone(&catalog), Arc::clone(set));
    let records: Vec<_> = (0..).map(Position).zip(records.iter().cloned()).collect();
    state.apply(&records);
    (state, catalog)
}

fn read(state: &OnlineState, catalog: &Catalog, user: &str, item: &str, now: Timestamp) -> Vec<Cell> {
    let set = state.features();
    let plan = ReadPlan::new(set, NAMES.iter().map(|name| set.by_reference(name).unwrap()).collect());
    let row = catalog.snapshot().row(item);
    let users = state.fetch_users(&plan, [user].into_iter(), now, None);
    let items = state.fetch_items(&plan, &[row], now, None).fetched;
    let pairs = state.fetch_pairs(&plan, [(user, row)].into_iter(), now);
    let fetched = [(Entity::User, &users), (Entity::Item, &items), (Entity::Pair, &pairs)];
    let columns = plan.assemble(1, now, &Attributes::new(), &fetched).unwrap();
    columns.into_iter().map(|column| column.cells[0].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_clocks_say_online_and_historical_features_are_the_same(
        steps in prop::collection::vec(step(), 0..60),
        later in prop::collection::vec(0..200i64, 1..5),
    ) {
        let item = |id, price, category: &str| {
            let attributes = [("price", Value::Number(price)), ("category", Value::Text(category.to_owned()))];
            Record::ItemUpsert(upsert(id, &attributes, UpsertMode::Replace, at(0)))
        };
        let mut records = vec![item("tea", 4.0, "a"), item("pot", 20.0, "b")];
        let mut minute = 1;
        for (number, (kind, user, place, pause, off)) in steps.into_iter().enumerate() {
            minute += pause;
            let (user, when) = (USERS[user], at(minute + off));
            records.push(match kind {
                0 => Record::UserDelete { id: user.to_owned(), timestamp: at(minute) },
                1..=8 => worth(user, when, Some(at(minute)), number as f64),
                _ => {
                    let kind = ["click", "purchase", "impression"][usize::from(kind) % 3];
                    match event(number, kind, user, ITEMS[place], when) {
                        Record::Event(mut event) => {
                            event.received = (off > 0).then_some(at(minute));
                            Record::Event(event)
                        }
                        other => other,
                    }
                }
            });
        }
        let project = Project::new(PROJECT);
        let (state, catalog) = online(&project.set, &records);
        let mut asked = Vec::new();
        for now in later.into_iter().map(|later| at(minute + later)) {
            asked.extend(USERS.iter().flat_map(|user| ITEMS.iter().map(move |item| (*user, *item, now))));
        }
        let dir = tempfile::tempdir().unwrap();
        write_log(&dir.path().join("log"), records);
        let rows = dir.path().join("rows.parquet");
        write_rows(&rows, &asked);
        let batches = project.historical(&NAMES, &[], &dir.path().join("log"), &rows, false).unwrap();
        let mut told: Vec<BTreeMap<String, (Option<FeatureValue>, String)>> = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cell = |name: &&str| {
                    let name = name.rsplit(['.', ':']).next().unwrap();
                    let status = batch.column_by_name(&format!("{name}__status")).unwrap().as_string::<i32>().value(row);
                    (name.to_owned(), (value(batch.column_by_name(name).unwrap(), row), status.to_owned()))
                };
                told.push(NAMES.iter().map(cell).collect());
            }
        }
        prop_assert_eq!(told.len(), asked.len());
        for ((user, item, now), told) in asked.into_iter().zip(told) {
            for (name, cell) in NAMES.iter().zip(read(&state, &catalog, user, item, now)) {
                let (value, status) = &told[name.rsplit(['.', ':']).next().unwrap()];
                prop_assert_eq!(&cell.value, value, "{} of {} and {} at {}", name, user, item, now);
                prop_assert_eq!(cell.status.name(), status, "{} of {} and {} at {}", name, user, item, now);
                prop_assert!(cell.event_time.is_none_or(|at| at <= now), "{name} is of the future");
            }
        }
    }
}
