//! Items and users as hashes on a real Redis: what is written comes back, in the order of the log and no other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{client_of, patient, redis};
use proptest::prelude::*;
use tastemaker_config::RedisConfig;
use tastemaker_redis::{Client, ItemWrite, Items, Operation, UserUpdate, UserWrite, Users, Written, cmd};
use tastemaker_testkit::RedisServer;
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, FeatureValue, Position, Timestamp, Value, Window};

const WRITE: Operation = Operation::repeatable("write");

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

fn upsert(id: &str, position: u64, replace: bool, attributes: &[(&str, Value)]) -> ItemWrite {
    ItemWrite::Upsert {
        id: id.to_owned(),
        position: Position(position),
        first_seen: None,
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        replace,
        vectors: Vec::new(),
    }
}

fn delete(id: &str, position: u64) -> ItemWrite {
    ItemWrite::Delete { id: id.to_owned(), position: Position(position) }
}

async fn attributes(items: &Items, id: &str) -> Option<Attributes> {
    items.read(&[id]).await.unwrap().remove(0).map(|item| item.attributes)
}

#[tokio::test]
async fn a_write_is_taken_only_by_what_is_older() {
    let (_server, client) = redis();
    let items = Items::new(client, schema());
    let price = |price: f64| [("price", Value::Number(price))];
    let written = |write: ItemWrite| async { items.write(WRITE, &[write]).await.unwrap()[0] };
    assert_eq!(written(upsert("a", 5, true, &price(5.0))).await, Written::Now);
    assert_eq!(written(upsert("a", 5, true, &price(5.0))).await, Written::Again);
    assert_eq!(written(upsert("a", 4, true, &price(4.0))).await, Written::Stale);
    assert_eq!(attributes(&items, "a").await.unwrap()["price"], Value::Number(5.0));
    assert_eq!(written(upsert("a", 6, false, &[("category", Value::Text("x".into()))])).await, Written::Now);
    assert_eq!(attributes(&items, "a").await.unwrap().len(), 2, "a merge keeps the others");
    assert_eq!(written(upsert("a", 7, true, &price(7.0))).await, Written::Now);
    assert_eq!(attributes(&items, "a").await.unwrap().len(), 1, "a replacement does not");
    // The first position of all is one, too.
    assert_eq!(written(upsert("b", 0, true, &[])).await, Written::Now);
    assert_eq!(attributes(&items, "b").await, Some(Attributes::new()));
}

#[tokio::test]
async fn what_somebody_else_wrote_stays_as_it_is() {
    let (_server, client) = redis();
    let items = Items::new(client.clone(), schema());
    client.call(WRITE, cmd("HSET").arg("t:item:a").arg("theirs").arg("1")).await.unwrap();
    let writes = [upsert("a", 5, true, &[]), delete("a", 7), upsert("b", 6, true, &[])];
    assert_eq!(items.write(WRITE, &writes).await.unwrap(), [Written::Foreign, Written::Foreign, Written::Now]);
    let theirs = client.call(WRITE, cmd("HVALS").arg("t:item:a")).await.unwrap();
    assert_eq!(theirs, tastemaker_redis::Value::Array(vec![tastemaker_redis::Value::BulkString(b"1".to_vec())]));
    assert_eq!(attributes(&items, "a").await, None);
}

#[tokio::test]
async fn an_older_write_does_not_bring_back_what_was_deleted() {
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &RedisConfig { tombstone_ttl: Window::from_millis(400), ..patient() });
    let items = Items::new(client.clone(), schema());
    let category = [("category", Value::Text("x".to_owned()))];
    let writes = [upsert("a", 5, true, &category), delete("a", 7), upsert("a", 6, true, &category)];
    assert_eq!(items.write(WRITE, &writes).await.unwrap(), [Written::Now, Written::Now, Written::Stale]);
    assert_eq!(attributes(&items, "a").await, None);
    // One that came never before its deletion, either.
    assert_eq!(
        items.write(WRITE, &[delete("b", 9), upsert("b", 8, true, &category)]).await.unwrap()[1],
        Written::Stale
    );
    // A later one does, for good.
    assert_eq!(items.write(WRITE, &[upsert("a", 8, true, &category)]).await.unwrap(), [Written::Now]);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(attributes(&items, "a").await.is_some());
    let left = client.call(WRITE, cmd("EXISTS").arg("t:item:b")).await.unwrap();
    assert_eq!(left, tastemaker_redis::Value::Int(0), "the marker goes");
}

#[tokio::test]
async fn many_writers_in_any_order_end_with_the_latest() {
    let (_server, client) = redis();
    let items = Items::new(client, schema());
    let writers = (0..8_u64).map(|writer| {
        let items = items.clone();
        async move {
            // Each in an order of its own, 37 and 199 having no common divisor.
            for step in 0..199_u64 {
                let position = (step * 37 + writer * 11) % 199;
                let price = [("price", Value::Number(position as f64))];
                items.write(WRITE, &[upsert("a", position, true, &price)]).await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let item = items.read(&["a"]).await.unwrap().remove(0).unwrap();
    assert_eq!((item.version, &item.attributes["price"]), (Position(198), &Value::Number(198.0)));
}

#[tokio::test]
async fn a_user_comes_back_whole_and_reads_by_hand() {
    let (_server, client) = redis();
    let users = Users::new(client.clone(), schema());
    let update = UserUpdate {
        attributes: Attributes::from([("category".to_owned(), Value::Text("gold".into()))]),
        features: vec![
            ("clicks".to_owned(), Some(FeatureValue::Number(3.0))),
            ("brands".to_owned(), Some(FeatureValue::Map(vec![("acme".to_owned(), 0.5)]))),
        ],
        embedding: Some(vec![1, 2, 3, 4]),
        state: Some(b"\0\xff state".to_vec()),
        ..UserUpdate::default()
    };
    let write = |position, update| UserWrite::Update { id: "u".to_owned(), position: Position(position), update };
    assert_eq!(users.write(WRITE, &[write(3, update)]).await.unwrap(), [Written::Now]);
    let user = users.read(&["u"]).await.unwrap().remove(0).unwrap();
    assert_eq!(user.attributes["category"], Value::Text("gold".into()));
    assert_eq!((user.version, user.embedding.as_deref()), (Position(3), Some(&[1, 2, 3, 4][..])));
    let clicks = client.call(WRITE, cmd("HGET").arg("t:user:u").arg("clicks")).await.unwrap();
    assert_eq!(clicks, tastemaker_redis::Value::BulkString(b"3".to_vec()));
    assert!(user.fields.contains(&("brands".to_owned(), b"acme=0.5".to_vec())));

    let stale = UserUpdate { state: Some(b"old".to_vec()), ..UserUpdate::default() };
    let forget = UserUpdate { features: vec![("clicks".to_owned(), None)], ..UserUpdate::default() };
    let written = users.write(WRITE, &[write(2, stale), write(4, forget)]).await.unwrap();
    assert_eq!(written, [Written::Stale, Written::Now]);
    let states = users.read_states(&["u", "nobody"]).await.unwrap();
    assert_eq!(states, [Some((Position(4), b"\0\xff state".to_vec())), None]);
    assert!(users.read(&["u"]).await.unwrap()[0].as_ref().unwrap().fields.iter().all(|(name, _)| name != "clicks"));
    users.write(WRITE, &[UserWrite::Delete { id: "u".to_owned(), position: Position(5) }]).await.unwrap();
    assert_eq!(users.read(&["u"]).await.unwrap(), [None]);
}

fn any_tag() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ \t\u{1e}\u{1f}\u{0}a\\\\]{0,6}"]
}

prop_compose! {
    fn any_attributes()(
        category in prop::option::of(any_tag()),
        genres in prop::option::of(prop::collection::vec(any_tag(), 0..4)),
        title in prop::option::of(any::<String>()),
        price in prop::option::of(any::<f64>().prop_filter("finite", |n| n.is_finite())),
        available in prop::option::of(any::<bool>()),
        released in prop::option::of(any::<i64>()),
    ) -> Attributes {
        let values = [
            ("category", category.map(Value::Text)),
            ("genres", genres.map(Value::Tags)),
            ("title", title.map(Value::Text)),
            ("price", price.map(Value::Number)),
            ("available", available.map(Value::Bool)),
            ("released", released.map(|us| Value::Time(Timestamp::from_micros(us)))),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[test]
fn any_attributes_of_any_id_come_back_from_redis() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = RedisServer::start(&[]);
    let client: Client = client_of(&server, &patient());
    let items = Items::new(client, schema());
    let last = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&("\\PC{1,20}", any_attributes()), |(id, attributes)| {
            let position = last.get() + 1;
            last.set(position);
            let write = ItemWrite::Upsert {
                id: id.clone(),
                position: Position(position),
                first_seen: Some(Timestamp::from_micros(7)),
                attributes: attributes.clone(),
                replace: true,
                vectors: Vec::new(),
            };
            let read = runtime.block_on(async {
                items.write(WRITE, &[write]).await.unwrap();
                items.read(&[&id]).await.unwrap().remove(0)
            });
            let read = read.unwrap();
            prop_assert_eq!(read.attributes, attributes);
            prop_assert_eq!(read.version, Position(position));
            prop_assert_eq!(read.first_seen, Some(Timestamp::from_micros(7)));
            Ok(())
        })
        .unwrap();
}
