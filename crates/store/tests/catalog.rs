//! The catalog against a plain map of the same items, filters that were kept against filters made from nothing, and
//! readers beside a writer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use proptest::prelude::*;
use tastemaker_expr::{Expr, Params};
use tastemaker_store::{Catalog, CatalogError, CatalogSnapshot, ItemChange};
use tastemaker_types::{
    AttributeSchema, AttributeType, Attributes, EntityUpsert, Event, Position, Record, Timestamp, UpsertMode, Value,
};

fn attributes() -> AttributeSchema {
    let fields = [
        ("category", AttributeType::Tag),
        ("genres", AttributeType::Tags),
        ("title", AttributeType::Text),
        ("price", AttributeType::Number),
        ("available", AttributeType::Bool),
        ("released", AttributeType::Time),
    ];
    AttributeSchema::new(fields.map(|(name, kind)| (name.to_owned(), kind)))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn upsert(id: &str, attributes: impl IntoIterator<Item = (&'static str, Value)>) -> EntityUpsert {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    EntityUpsert { id: id.to_owned(), attributes, mode: UpsertMode::Replace, timestamp: at(100) }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn filter(catalog: &Catalog, sql: &str) -> Expr {
    Expr::compile(sql, catalog.schema(), &Params::at(at(1_000))).unwrap()
}

fn members(snapshot: &CatalogSnapshot, filter: &Expr) -> Vec<u32> {
    snapshot.bitmap(filter).unwrap().iter().collect()
}

#[test]
fn an_item_is_found_by_its_id_and_its_row() {
    let catalog = Catalog::new(attributes());
    let item = upsert(
        "käse",
        [
            ("category", text("food")),
            ("genres", Value::Tags(vec!["b".into(), "a".into(), "b".into()])),
            ("price", Value::Number(2.5)),
            ("available", Value::Bool(true)),
            // A log gives times back as text.
            ("released", text("1970-01-02")),
        ],
    );
    let applied = catalog.apply(&[ItemChange::Upsert(&item)]);
    assert_eq!((applied.rows, applied.misfits), (vec![Some(0)], 0));
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.row("käse"), Some(0));
    assert_eq!(snapshot.id(0).map(|id| &**id), Some("käse"));
    assert_eq!(snapshot.first_seen(0), Some(at(100)));
    let expected = Attributes::from([
        ("available".to_owned(), Value::Bool(true)),
        ("category".to_owned(), text("food")),
        ("genres".to_owned(), Value::Tags(vec!["a".into(), "b".into()])),
        ("price".to_owned(), Value::Number(2.5)),
        ("released".to_owned(), Value::Time(at(86_400))),
    ]);
    assert_eq!(snapshot.attributes(0), expected);
    assert_eq!((snapshot.row("no"), snapshot.id(1), snapshot.alive(1)), (None, None, false));
    assert_eq!(snapshot.attributes(7), Attributes::new());
}

#[test]
fn a_deleted_item_leaves_its_row_dead_and_gets_it_back() {
    let catalog = Catalog::new(attributes());
    let book = upsert("a", [("category", text("book"))]);
    catalog.apply(&[ItemChange::Upsert(&book), ItemChange::Seen { id: "b", timestamp: at(5) }]);
    let before = catalog.snapshot();
    let everything = filter(&catalog, "TRUE");
    assert_eq!(members(&before, &everything), [0, 1]);

    catalog.apply(&[ItemChange::Delete { id: "a", timestamp: at(200) }]);
    let deleted = catalog.snapshot();
    assert_eq!((deleted.row("a"), deleted.alive(0), deleted.len()), (Some(0), false, 2));
    assert_eq!(deleted.attributes(0), Attributes::new());
    assert_eq!(members(&deleted, &everything), [1]);
    assert_eq!(deleted.alive_rows().iter().collect::<Vec<_>>(), [1]);
    // An event on it does not bring it back, an upsert does.
    assert_eq!(catalog.intern("a", at(300)), Some(0));
    assert!(!catalog.snapshot().alive(0));
    let again = EntityUpsert { mode: UpsertMode::Merge, ..upsert("a", [("price", Value::Number(1.0))]) };
    catalog.apply(&[ItemChange::Upsert(&again)]);
    assert!(catalog.snapshot().alive(0));
    assert_eq!(catalog.snapshot().attributes(0), Attributes::from([("price".to_owned(), Value::Number(1.0))]));
    assert_eq!(catalog.snapshot().first_seen(0), Some(at(100)));
    // The old snapshot is as it was.
    assert!(before.alive(0));
    assert_eq!(before.attributes(0), Attributes::from([("category".to_owned(), text("book"))]));
    assert_eq!(members(&before, &everything), [0, 1]);
}

#[test]
fn deleting_what_never_was_changes_nothing() {
    let catalog = Catalog::new(attributes());
    let applied = catalog.apply(&[ItemChange::Delete { id: "x", timestamp: at(1) }]);
    assert_eq!(applied.rows, [None]);
    assert_eq!((catalog.snapshot().len(), catalog.snapshot().version()), (0, 0));
}

#[test]
fn what_does_not_fit_the_declaration_counts_as_absent() {
    let catalog = Catalog::new(attributes());
    let old = upsert("a", [("category", Value::Number(1.0)), ("colour", text("red")), ("price", Value::Number(2.0))]);
    let applied = catalog.apply(&[ItemChange::Upsert(&old)]);
    assert_eq!(applied.misfits, 2);
    assert!(applied.first_misfit.unwrap().to_string().contains("'category'"));
    assert_eq!(catalog.snapshot().attributes(0), Attributes::from([("price".to_owned(), Value::Number(2.0))]));
}

#[test]
fn records_of_the_log_say_what_happens_to_items() {
    let event = Event {
        event_id: "e".into(),
        event_type: "click".into(),
        user_id: "u".into(),
        item_id: "i".into(),
        timestamp: at(7),
        value: None,
        session_id: None,
        received: None,
        request_id: None,
        properties: Attributes::new(),
    };
    let records = [
        Record::Event(event),
        Record::ItemUpsert(upsert("i", [("price", Value::Number(1.0))])),
        Record::UserDelete { id: "u".into(), timestamp: at(8) },
        Record::ItemDelete { id: "i".into(), timestamp: at(9) },
    ];
    let changes: Vec<_> = records.iter().filter_map(ItemChange::of).collect();
    let catalog = Catalog::new(attributes());
    assert_eq!(catalog.apply(&changes).rows, [Some(0); 3]);
    assert!(!catalog.snapshot().alive(0));
    assert_eq!(catalog.snapshot().first_seen(0), Some(at(7)));
    let _ = Position::default();
}

#[test]
fn a_filter_over_anything_but_items_is_refused() {
    let catalog = Catalog::new(attributes());
    catalog.intern("a", at(1));
    let wide = tastemaker_expr::Schema::new([
        ("user.age", arrow_schema::DataType::Float64),
        ("item.price", arrow_schema::DataType::Float64),
    ]);
    let compile = |sql| Expr::compile(sql, &wide, &Params::at(at(0))).unwrap();
    let snapshot = catalog.snapshot();
    let error = snapshot.bitmap(&compile("item.price < user.age")).unwrap_err();
    assert!(matches!(&error, CatalogError::NotAnAttribute { name } if name == "user.age"), "{error}");
    assert_eq!(snapshot.bitmap(&compile("item.price IS NULL")).unwrap().count(), 1);
    assert!(matches!(snapshot.bitmap(&filter(&catalog, "price")), Err(CatalogError::Filter(_))));
}

#[test]
fn gathered_rows_keep_their_order_and_dead_or_unknown_rows_are_null() {
    let catalog = Catalog::new(attributes());
    let items: Vec<_> = (0..3_000)
        .map(|n| {
            upsert(
                &format!("i{n}"),
                [
                    ("category", text(["x", "y", "z"][n % 3])),
                    ("genres", Value::Tags(vec![format!("g{}", n % 5)])),
                    ("title", text(&format!("title {n}"))),
                    ("price", Value::Number(n as f64)),
                    ("available", Value::Bool(n % 2 == 0)),
                    ("released", Value::Time(at(n as i64))),
                ],
            )
        })
        .collect();
    catalog.apply(&items.iter().map(ItemChange::Upsert).collect::<Vec<_>>());
    catalog.apply(&[ItemChange::Delete { id: "i7", timestamp: at(0) }]);
    let snapshot = catalog.snapshot();
    let rows = [2_999, 0, 7, 1_024, 4_000, 1_024];
    let batch = snapshot.gather(&rows);
    let prices: Vec<_> = batch["price"].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(prices, [Some(2_999.0), Some(0.0), None, Some(1_024.0), None, Some(1_024.0)]);
    let categories: Vec<_> = batch["category"]
        .as_dictionary::<Int32Type>()
        .downcast_dict::<arrow_array::StringArray>()
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(categories, [Some("z"), Some("x"), None, Some("y"), None, Some("y")]);
    // Gathered rows give the same answer as rows in place.
    let wanted = filter(
        &catalog,
        "category = 'y' AND 'g4' = ANY(genres) AND price > 2000 AND title LIKE '%4' OR released < '1970-01-01T00:00:05Z'",
    );
    let all: Vec<u32> = (0..snapshot.len() as u32).collect();
    let narrow = snapshot.gather_for(&all, [&wanted]).unwrap();
    assert_eq!(narrow.num_columns(), 5);
    let truth = wanted.filter(&narrow).unwrap();
    let gathered: Vec<u32> = all.iter().copied().filter(|row| truth.value(*row as usize)).collect();
    assert!(!gathered.is_empty());
    assert_eq!(members(&snapshot, &wanted), gathered);
    assert_eq!(snapshot.gather_columns(&[1, 2], &[]).num_rows(), 2);
}

/// What happens to one of a few items.
#[derive(Debug, Clone)]
enum Op {
    Upsert { id: usize, merge: bool, values: Attributes, seconds: i64 },
    Delete { id: usize },
    Seen { id: usize, seconds: i64 },
}

/// Enough ids for three chunks.
const IDS: usize = 2_500;

fn op() -> impl Strategy<Value = Op> {
    // Near the ends of chunks more often than elsewhere.
    let id = prop_oneof![2 => 0..IDS, 2 => 0..6usize, 1 => 1_020..1_030usize];
    let tag = proptest::sample::select(vec!["a", "b", "c", "d"]);
    let value = |strategy: BoxedStrategy<Value>| proptest::option::of(strategy);
    let values = (
        value(tag.clone().prop_map(text).boxed()),
        value(
            proptest::collection::btree_set(tag, 0..3)
                .prop_map(|tags| Value::Tags(tags.into_iter().map(str::to_owned).collect()))
                .boxed(),
        ),
        value("[a-z]{0,6}".prop_map(Value::Text).boxed()),
        value((-3..3i8).prop_map(|n| Value::Number(f64::from(n))).boxed()),
        value(any::<bool>().prop_map(Value::Bool).boxed()),
        value((0..9i64).prop_map(|s| Value::Time(at(s))).boxed()),
    )
        .prop_map(|(a, b, c, d, e, f)| {
            let names = ["category", "genres", "title", "price", "available", "released"];
            let values = names.into_iter().zip([a, b, c, d, e, f]);
            values.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Attributes>()
        });
    prop_oneof![
        4 => (id.clone(), any::<bool>(), values, 0..50i64)
            .prop_map(|(id, merge, values, seconds)| Op::Upsert { id, merge, values, seconds }),
        1 => id.clone().prop_map(|id| Op::Delete { id }),
        2 => (id, 0..50i64).prop_map(|(id, seconds)| Op::Seen { id, seconds }),
    ]
}

#[derive(Debug, Clone, Default)]
struct Item {
    row: u32,
    alive: bool,
    first_seen: i64,
    attributes: Attributes,
}

#[derive(Default)]
struct Model {
    items: HashMap<String, Item>,
}

impl Model {
    fn item(&mut self, id: &str, seconds: i64) -> &mut Item {
        let row = self.items.len() as u32;
        let item = self.items.entry(id.to_owned()).or_insert_with(|| Item {
            row,
            alive: true,
            first_seen: seconds,
            attributes: Attributes::new(),
        });
        item.first_seen = item.first_seen.min(seconds);
        item
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Upsert { id, merge, values, seconds } => {
                let item = self.item(&format!("i{id}"), *seconds);
                item.alive = true;
                if !merge {
                    item.attributes.clear();
                }
                item.attributes.extend(values.clone());
            }
            Op::Delete { id } => {
                if let Some(item) = self.items.get_mut(&format!("i{id}")) {
                    item.alive = false;
                    item.attributes.clear();
                }
            }
            Op::Seen { id, seconds } => {
                self.item(&format!("i{id}"), *seconds);
            }
        }
    }
}

fn record(op: &Op) -> Record {
    match op {
        Op::Upsert { id, merge, values, seconds } => Record::ItemUpsert(EntityUpsert {
            id: format!("i{id}"),
            attributes: values.clone(),
            mode: if *merge { UpsertMode::Merge } else { UpsertMode::Replace },
            timestamp: at(*seconds),
        }),
        Op::Delete { id } => Record::ItemDelete { id: format!("i{id}"), timestamp: at(0) },
        Op::Seen { id, seconds } => Record::Event(Event {
            event_id: String::new(),
            event_type: "click".into(),
            user_id: "u".into(),
            item_id: format!("i{id}"),
            timestamp: at(*seconds),
            value: None,
            session_id: None,
            received: None,
            request_id: None,
            properties: Attributes::new(),
        }),
    }
}

const FILTERS: [&str; 4] = [
    "TRUE",
    "category = 'a' AND available",
    "price < 1 OR 'b' = ANY(genres)",
    "title LIKE '%a%' AND released > '1970-01-01T00:00:04Z'",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_changes_leave_what_a_plain_map_says(
        filled in 0..IDS,
        batches in proptest::collection::vec(proptest::collection::vec(op(), 0..40), 1..8),
    ) {
        let catalog = Catalog::new(attributes());
        let mut model = Model::default();
        let first: Vec<Op> = (0..filled).map(|id| Op::Seen { id, seconds: 25 }).collect();
        let filters = FILTERS.map(|sql| filter(&catalog, sql));
        for batch in std::iter::once(&first).chain(&batches) {
            let records: Vec<Record> = batch.iter().map(record).collect();
            let applied = catalog.apply(&records.iter().filter_map(ItemChange::of).collect::<Vec<_>>());
            batch.iter().for_each(|op| model.apply(op));
            prop_assert_eq!(applied.misfits, 0);
            prop_assert_eq!(applied.rows.len(), batch.len());

            let snapshot = catalog.snapshot();
            prop_assert_eq!(snapshot.len(), model.items.len());
            for (id, item) in &model.items {
                prop_assert_eq!(snapshot.row(id), Some(item.row));
                prop_assert_eq!(snapshot.id(item.row).map(|id| &**id), Some(id.as_str()));
                prop_assert_eq!(snapshot.alive(item.row), item.alive);
                prop_assert_eq!(snapshot.first_seen(item.row), Some(at(item.first_seen)));
                prop_assert_eq!(&snapshot.attributes(item.row), &item.attributes);
            }
            // Filters that were kept and partly evaluated again say what a catalog without a past says.
            let mut by_row: Vec<(&String, &Item)> = model.items.iter().collect();
            by_row.sort_by_key(|(_, item)| item.row);
            let fresh = Catalog::new(attributes());
            let upserts: Vec<EntityUpsert> = by_row
                .iter()
                .map(|(id, item)| EntityUpsert {
                    id: (*id).clone(),
                    attributes: item.attributes.clone(),
                    mode: UpsertMode::Replace,
                    timestamp: at(item.first_seen),
                })
                .collect();
            fresh.apply(&upserts.iter().map(ItemChange::Upsert).collect::<Vec<_>>());
            let dead: Vec<_> = by_row.iter().filter(|(_, item)| !item.alive).collect();
            fresh.apply(&dead.iter().map(|(id, _)| ItemChange::Delete { id, timestamp: at(0) }).collect::<Vec<_>>());
            for kept in &filters {
                prop_assert_eq!(members(&snapshot, kept), members(&fresh.snapshot(), kept), "{}", kept.cache_key());
                prop_assert_eq!(members(&snapshot, kept), members(&snapshot, kept));
            }
        }
    }
}

/// The writer sets the price of all items to the same number at once; a reader that sees two numbers saw half a change.
#[test]
fn readers_see_whole_changes_only() {
    const ITEMS: usize = 3_000;
    let catalog = Catalog::new(attributes());
    let priced = |price: f64| -> Vec<EntityUpsert> {
        (0..ITEMS).map(|n| upsert(&format!("i{n}"), [("price", Value::Number(price))])).collect()
    };
    let apply = |items: &[EntityUpsert]| catalog.apply(&items.iter().map(ItemChange::Upsert).collect::<Vec<_>>());
    apply(&priced(0.0));
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    let mut last = (0.0, 0);
                    while !done.load(Ordering::Relaxed) || reads == 0 {
                        let snapshot = catalog.snapshot();
                        let rows: Vec<u32> = (0..ITEMS as u32).step_by(7).collect();
                        let batch = snapshot.gather(&rows);
                        let prices = batch["price"].as_primitive::<Float64Type>();
                        let price = prices.value(0);
                        assert!(prices.iter().all(|other| other == Some(price)));
                        let sql = format!("price = {price}");
                        assert_eq!(snapshot.bitmap(&filter(&catalog, &sql)).unwrap().count(), ITEMS);
                        assert!(snapshot.row(&format!("late {}", snapshot.len())).is_none());
                        assert!(price >= last.0 && snapshot.len() >= last.1, "time went backwards");
                        last = (price, snapshot.len());
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for round in 1..=30 {
            apply(&priced(f64::from(round)));
            catalog.intern(&format!("late {}", catalog.snapshot().len()), at(0));
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>()
    });
    assert!(reads >= 2);
    assert_eq!(catalog.snapshot().len(), ITEMS + 30);
}

#[test]
fn an_older_snapshot_is_answered_beside_a_newer_one() {
    let catalog = Catalog::new(attributes());
    let cheap = filter(&catalog, "price < 5");
    let mut expected = BTreeMap::new();
    let mut snapshots = Vec::new();
    for n in 0..20u32 {
        catalog.apply(&[ItemChange::Upsert(&upsert(&format!("i{n}"), [("price", Value::Number(1.0))]))]);
        let snapshot = catalog.snapshot();
        expected.insert(snapshot.version(), members(&snapshot, &cheap));
        snapshots.push(snapshot);
    }
    for snapshot in snapshots.iter().rev().chain(&snapshots) {
        assert_eq!(members(snapshot, &cheap), expected[&snapshot.version()]);
    }
}
