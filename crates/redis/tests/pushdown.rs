//! A pushed-down filter and its residue, on a real Redis, pass exactly the items that the expression passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, ListBuilder, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use common::{client_of, patient};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tastemaker_config::{RedisIndexConfig, RedisIndexKind, RedisVectorType};
use tastemaker_expr::{Expr, Params, Schema};
use tastemaker_redis::search::{HybridPolicy, IndexSchema, Knn, Query, Returned};
use tastemaker_redis::{Client, ItemWrite, Items, Operation, Pushdown, VectorFormat, decode_attributes};
use tastemaker_testkit::RedisServer;
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Position, Timestamp, Value};

const WRITE: Operation = Operation::repeatable("write").bulk();
const SEARCH: Operation = Operation::repeatable("search");
const FORMAT: VectorFormat = VectorFormat { dimension: 2, kind: RedisVectorType::Float32 };
const ITEMS: usize = 300;

fn schema() -> AttributeSchema {
    AttributeSchema::new([
        ("category".to_owned(), AttributeType::Tag),
        ("genres".to_owned(), AttributeType::Tags),
        ("title".to_owned(), AttributeType::Text),
        ("price".to_owned(), AttributeType::Number),
        ("available".to_owned(), AttributeType::Bool),
        ("released".to_owned(), AttributeType::Time),
    ])
}

/// Whatever an index might confuse.
const TAGS: [&str; 24] = [
    "a", "A", "b", "", " ", " a", "a ", "a b", "a\u{1f}b", "\u{1e}", "\u{1e}1f", "a\\b", "\\", "a|b", "{a}", "$p0",
    "*", "a*", "käse", "kase", "商品", "it's", "@x:{y}", "-a\t",
];
const NUMBERS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.5, 0.1, 0.1 + f64::EPSILON, 2.0, 1e17, -1e300, 5e-324, 123_456.789_012_345_67, 1e-7];
const TIMES: [&str; 4] =
    ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000001Z", "1969-12-31T23:59:59Z", "9000-01-01T00:00:00.000001Z"];

fn tag() -> impl Strategy<Value = String> {
    // A long one that differs from another behind what the index keeps.
    prop_oneof![
        12 => prop::sample::select(&TAGS[..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["x", "y"][..]).prop_map(|end| "l".repeat(4_200) + end),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop::sample::select(&NUMBERS[..])
}

fn time() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TIMES[..])
}

prop_compose! {
    fn attributes()(
        category in prop::option::of(tag()),
        genres in prop::option::of(prop::collection::btree_set(tag(), 0..4)),
        title in prop::option::of(tag()),
        price in prop::option::of(number()),
        available in prop::option::of(any::<bool>()),
        released in prop::option::of(time()),
    ) -> Attributes {
        let values = [
            ("category", category.map(Value::Text)),
            ("genres", genres.map(|tags| Value::Tags(tags.into_iter().collect()))),
            ("title", title.map(Value::Text)),
            ("price", price.map(Value::Number)),
            ("available", available.map(Value::Bool)),
            ("released", released.map(|time| Value::Time(time.parse().unwrap()))),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn decimal(number: f64) -> String {
    format!("({number:e})")
}

fn list(values: Vec<String>) -> String {
    values.join(", ")
}

/// A condition in SQL: what can be pushed down, what cannot, and NULLs everywhere.
fn condition() -> impl Strategy<Value = String> {
    let comparison = || prop::sample::select(&["=", "<>", "<", "<=", ">", ">="][..]);
    let leaf = prop_oneof![
        Just("available".to_owned()),
        (comparison(), tag()).prop_map(|(op, tag)| format!("category {op} {}", text(&tag))),
        tag().prop_map(|tag| format!("{} = category", text(&tag))),
        tag().prop_map(|tag| format!("title <> {}", text(&tag))),
        (comparison(), number()).prop_map(|(op, x)| format!("price {op} {}", decimal(x))),
        (comparison(), number()).prop_map(|(op, x)| format!("{} {op} item.price", decimal(x))),
        (comparison(), time()).prop_map(|(op, time)| format!("released {op} '{time}'")),
        (number(), number()).prop_map(|(a, b)| format!("price BETWEEN {} AND {}", decimal(a), decimal(b))),
        (time(), time()).prop_map(|(a, b)| format!("released NOT BETWEEN '{a}' AND '{b}'")),
        prop::collection::vec(tag(), 1..4)
            .prop_map(|tags| { format!("category IN ({})", list(tags.iter().map(|tag| text(tag)).collect())) }),
        prop::collection::vec(tag(), 1..3).prop_map(|tags| {
            format!("category NOT IN (NULL, {})", list(tags.iter().map(|tag| text(tag)).collect()))
        }),
        prop::collection::vec(number(), 1..4)
            .prop_map(|numbers| { format!("price NOT IN ({})", list(numbers.into_iter().map(decimal).collect())) }),
        tag().prop_map(|tag| format!("{} = ANY(genres)", text(&tag))),
        any::<bool>().prop_map(|value| format!("available = {value}")),
        any::<bool>().prop_map(|value| format!("available IN ({value}, NULL)")),
        Just("available IS TRUE".to_owned()),
        Just("available IS NOT FALSE".to_owned()),
        prop::sample::select(&["category", "genres", "title", "price", "available", "released"][..])
            .prop_map(|name| format!("{name} IS NULL")),
        prop::sample::select(&["TRUE", "FALSE", "price = NULL", "category LIKE 'a%'", "price * 2 > 1"][..])
            .prop_map(str::to_owned),
        Just("cardinality(genres) > 1".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|a| format!("(NOT {a})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            3 => (inner.clone(), inner).prop_map(|(a, b)| format!("({a} OR {b})")),
        ]
    })
}

fn batch(rows: &[Attributes]) -> RecordBatch {
    let mut category = StringDictionaryBuilder::<Int32Type>::new();
    let mut genres = ListBuilder::new(StringBuilder::new());
    let (mut title, mut price) = (StringBuilder::new(), Float64Builder::new());
    let (mut available, mut released) =
        (BooleanBuilder::new(), TimestampMicrosecondBuilder::new().with_timezone("UTC"));
    let a_text = |row: &Attributes, name: &str| match row.get(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    for row in rows {
        category.append_option(a_text(row, "category"));
        title.append_option(a_text(row, "title"));
        match row.get("genres") {
            Some(Value::Tags(tags)) => genres.append_value(tags.iter().map(Some)),
            _ => genres.append_null(),
        }
        price.append_option(row.get("price").and_then(|v| if let Value::Number(n) = v { Some(*n) } else { None }));
        available
            .append_option(row.get("available").and_then(|v| if let Value::Bool(b) = v { Some(*b) } else { None }));
        released.append_option(
            row.get("released").and_then(|v| if let Value::Time(t) = v { Some(t.as_micros()) } else { None }),
        );
    }
    let columns: [(&str, ArrayRef); 6] = [
        ("category", Arc::new(category.finish())),
        ("genres", Arc::new(genres.finish())),
        ("title", Arc::new(title.finish())),
        ("price", Arc::new(price.finish())),
        ("available", Arc::new(available.finish())),
        ("released", Arc::new(released.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn passing(expression: &Expr, ids: &[String], rows: &[Attributes]) -> BTreeSet<String> {
    let passes = expression.filter(&batch(rows)).unwrap();
    ids.iter().zip(passes.iter()).filter(|(_, passes)| *passes == Some(true)).map(|(id, _)| id.clone()).collect()
}

/// What Redis finds for the filter, without a vector if there is no policy, with the residue checked on the rows as they came.
async fn found(client: &Client, pushdown: &Pushdown, policy: Option<HybridPolicy>) -> BTreeSet<String> {
    let Some(filter) = &pushdown.filter else { return BTreeSet::new() };
    let knn = Knn { k: 2 * ITEMS, vector: FORMAT.query(&[1.0, 0.5]), policy, ef_runtime: None };
    let mut query = Query::nearest("t:idx:items:1", filter.clone(), knn, Returned::Hash);
    if policy.is_none() {
        query.knn = None;
    }
    let rows = client.search(SEARCH, &query).await.unwrap().rows;
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let fields = rows.iter().map(|row| row.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
    let attributes: Vec<Attributes> = fields.map(|fields| decode_attributes(&schema(), fields)).collect();
    match &pushdown.residue {
        Some(residue) => passing(residue, &ids, &attributes),
        None => ids.into_iter().collect(),
    }
}

#[test]
fn filter_and_residue_pass_what_the_expression_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &patient());
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let mut rows = Vec::with_capacity(ITEMS);
    for _ in 0..ITEMS {
        rows.push(attributes().new_tree(&mut runner).unwrap().current());
    }
    let ids: Vec<String> = (0..ITEMS).map(|number| format!("i{number}")).collect();
    runtime.block_on(async {
        let index = RedisIndexConfig { kind: RedisIndexKind::Flat, ..RedisIndexConfig::default() };
        let schema = schema();
        let made = IndexSchema { generation: "1", format: FORMAT, attributes: &schema, index: &index };
        client.create_index(&made).await.unwrap();
        let writes: Vec<ItemWrite> = ids
            .iter()
            .zip(&rows)
            .enumerate()
            .map(|(number, (id, attributes))| ItemWrite::Upsert {
                id: id.clone(),
                position: Position(number as u64),
                first_seen: None,
                attributes: attributes.clone(),
                replace: true,
                vectors: vec![("1".to_owned(), FORMAT.item(&[number as f32, 1.0], 1_000.0))],
            })
            .collect();
        Items::new(client.clone(), schema.clone()).write(WRITE, &writes).await.unwrap();
        // One that was deleted passes nothing that needs a vector.
        let gone = [
            ItemWrite::Upsert {
                id: "gone".to_owned(),
                position: Position(1),
                first_seen: None,
                attributes: Attributes::new(),
                replace: true,
                vectors: vec![("1".to_owned(), FORMAT.item(&[1.0, 1.0], 1_000.0))],
            },
            ItemWrite::Delete { id: "gone".to_owned(), position: Position(2) },
        ];
        Items::new(client.clone(), schema).write(WRITE, &gone).await.unwrap();
        assert_eq!(client.index_info("t:idx:items:1").await.unwrap().failures, 0);
    });
    let names = Schema::for_attributes(&schema()).with_default_qualifier("item");
    let (pushed, exact, some) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let add = |count: &Cell<usize>, more: bool| count.set(count.get() + usize::from(more));
    runner
        .run(&condition(), |sql| {
            let expression = Expr::compile_filter(&sql, &names, &Params::at(Timestamp::from_micros(0))).unwrap();
            let pushdown = Pushdown::of(&expression, &schema());
            let expected = passing(&expression, &ids, &rows);
            for policy in [HybridPolicy::AdhocBruteForce, HybridPolicy::Batches] {
                let actual = runtime.block_on(found(&client, &pushdown, Some(policy)));
                prop_assert_eq!(&actual, &expected, "{:?}: {} as {:?}", policy, &sql, &pushdown);
            }
            // Without vectors the same, but for the marker of the deletion.
            let mut actual = runtime.block_on(found(&client, &pushdown, None));
            actual.remove("gone");
            prop_assert_eq!(&actual, &expected, "without vectors, {} as {:?}", &sql, &pushdown);
            add(&pushed, pushdown.filter.as_ref().is_none_or(|filter| !filter.is_all()));
            add(&exact, pushdown.residue.is_none());
            add(&some, !expected.is_empty() && expected.len() < ITEMS);
            Ok(())
        })
        .unwrap();
    // The test is worth something: most conditions reach Redis, many as a whole, and most pass some of the items.
    let (pushed, exact, some) = (pushed.get(), exact.get(), some.get());
    assert!(pushed > 200 && exact > 100 && some > 150, "{pushed} pushed, {exact} exact, {some} passing some");
}
