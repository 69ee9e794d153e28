//! Generations into a real Redis: loaded, cut off and taken up again, verified, flipped and flipped back, removed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::time::Instant;

use common::{client_of, patient, redis};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tastemaker_config::RedisConfig;
use tastemaker_redis::publish::{Exact, Loaded, Publication, Publisher, Step};
use tastemaker_redis::search::{Filter, Returned};
use tastemaker_redis::{
    Client, ItemWrite, Items, KnnSearch, Nearest, Operation, RedisError, UserUpdate, UserWrite, Users, cmd,
};
use tastemaker_testkit::RedisServer;
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Position, Timestamp, Value, Window};

const WRITE: Operation = Operation::repeatable("write").bulk();
const DIMENSION: usize = 16;

fn schema() -> AttributeSchema {
    AttributeSchema::new([("category".to_owned(), AttributeType::Tag)])
}

fn factors(seed: u64, count: usize) -> Vec<(String, Vec<f32>)> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut factor = || (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect();
    (0..count).map(|number| (format!("i{number}"), factor())).collect()
}

fn publisher(client: &Client, generation: &str) -> Publisher {
    let publication = Publication {
        generation: generation.to_owned(),
        dimension: DIMENSION,
        max_norm: (DIMENSION as f32).sqrt(),
        attributes: schema(),
    };
    Publisher::new(client.clone(), publication).unwrap()
}

async fn write_items(client: &Client, count: usize) {
    let writes: Vec<ItemWrite> = (0..count)
        .map(|number| ItemWrite::Upsert {
            id: format!("i{number}"),
            position: Position(number as u64),
            first_seen: None,
            attributes: Attributes::from([("category".to_owned(), Value::Text("a".to_owned()))]),
            replace: true,
            vectors: Vec::new(),
        })
        .collect();
    Items::new(client.clone(), schema()).write(WRITE, &writes).await.unwrap();
}

async fn nearest(client: &Client, query: &[f32], publisher: &Publisher) -> String {
    let search = KnnSearch::new(client.clone(), client.layout().alias(), 10);
    let vector = publisher.format().query(query);
    let nearest = Nearest { vector, k: 1, filter: Filter::all(), returned: Returned::Ids, costly: false };
    search.nearest(&nearest).await.unwrap().rows.remove(0).id
}

fn best<'f>(query: &[f32], factors: &'f [(String, Vec<f32>)]) -> &'f str {
    let score = |factor: &[f32]| -> f32 { query.iter().zip(factor).map(|(a, b)| a * b).sum() };
    &factors.iter().max_by(|a, b| score(&a.1).total_cmp(&score(&b.1))).unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_are_loaded_verified_flipped_back_and_removed() {
    let (_server, client) = redis();
    write_items(&client, 2_000).await;
    let delete = ItemWrite::Delete { id: "i5".to_owned(), position: Position(9_999) };
    Items::new(client.clone(), schema()).write(WRITE, &[delete]).await.unwrap();
    let query = factors(99, 1).remove(0).1;
    let generations: Vec<_> = [("1", factors(1, 2_100)), ("2", factors(2, 2_100))].into_iter().collect();
    for (generation, factors) in &generations {
        let publisher = publisher(&client, generation);
        let mut exact = Exact::of(self::factors(50, 8).into_iter().map(|(_, query)| query));
        let mut steps = HashMap::new();
        let all = factors.iter().map(|(id, factor)| (id, factor));
        let loaded = publisher.load_items(all, &mut exact, |p| _ = steps.insert(p.step, p.done)).await.unwrap();
        // Neither the deleted item nor those that never were have come to be.
        assert_eq!(loaded, Loaded { written: 1_999, absent: 101, resumed: 0 });
        publisher.build_index(|p| _ = steps.insert(p.step, p.done)).await.unwrap();
        assert_eq!(steps, HashMap::from([(Step::Items, 2_100), (Step::Index, 1_000)]));
        let verified = publisher.verify(loaded.written, &exact, 0.9).await.unwrap();
        assert!(verified.recall >= 0.9 && verified.documents >= 1_999, "{verified:?}");
        publisher.flip().await.unwrap();
        let there: Vec<_> = factors[..2_000].iter().filter(|(id, _)| id != "i5").cloned().collect();
        assert_eq!(nearest(&client, &query, &publisher).await, best(&query, &there));
    }
    // Back, and forth again.
    let [first, second] = ["1", "2"].map(|generation| publisher(&client, generation));
    for (publisher, generation) in [(&first, "1"), (&second, "2")] {
        publisher.flip().await.unwrap();
        assert_eq!(client.serving_generation().await.unwrap().as_deref(), Some(generation));
    }
    let refused = second.remove(["i1"], |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("generation 2 serves"), "{refused}");
    let before = nearest(&client, &query, &second).await;
    first.remove(generations[0].1.iter().map(|(id, _)| id), |_| {}).await.unwrap();
    assert_eq!(nearest(&client, &query, &second).await, before);
    let fields = client.call(WRITE, cmd("HKEYS").arg("t:item:i1")).await.unwrap();
    let fields = format!("{fields:?}");
    assert!(!fields.contains("embedding_1") && fields.contains("embedding_2"), "{fields}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_was_cut_off_goes_on_where_it_was() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let config = RedisConfig { pipeline: 64, bulk_timeout: Window::from_millis(2_000), ..patient() };
    let client = client_of(&server, &config);
    write_items(&client, 1_000).await;
    let factors = factors(3, 1_000);
    let publisher = publisher(&client, "1");
    // Redis dies in the middle of it.
    let mut done = 0;
    let all = factors.iter().map(|(id, factor)| (id, factor));
    let cut = publisher
        .load_items(all.clone(), &mut Exact::default(), |p| {
            done = p.done;
            if done == 320 {
                server.kill();
            }
        })
        .await;
    assert!(cut.as_ref().is_err_and(RedisError::is_transient), "{cut:?}");
    server.restart();
    while client.ping().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let loaded = publisher.load_items(all.clone(), &mut Exact::default(), |_| {}).await.unwrap();
    assert!(loaded.resumed >= 256 && loaded.resumed <= done, "{loaded:?} after {done}");
    assert_eq!((loaded.resumed + loaded.written, loaded.absent), (1_000, 0));
    publisher.build_index(|_| {}).await.unwrap();
    publisher.verify(1_000, &Exact::default(), 1.0).await.unwrap();
    // What is in the index is what was meant, and not only as many.
    publisher.flip().await.unwrap();
    for (id, factor) in factors.iter().step_by(97) {
        let by_hand = client.call(WRITE, cmd("HGET").arg(format!("t:item:{id}")).arg("embedding_1")).await.unwrap();
        let expected = publisher.format().item(factor, (DIMENSION as f32).sqrt());
        assert_eq!(by_hand, tastemaker_redis::Value::BulkString(expected), "{id}");
    }
}

#[tokio::test]
async fn an_index_that_finds_something_else_is_not_verified() {
    let (_server, client) = redis();
    write_items(&client, 500).await;
    let publisher = publisher(&client, "1");
    // The exact search sees other factors than those that are loaded.
    let mut exact = Exact::of(factors(50, 8).into_iter().map(|(_, query)| query));
    let (loaded, meant) = (factors(1, 500), factors(2, 500));
    publisher.load_items(meant, &mut exact, |_| {}).await.unwrap();
    client.call(WRITE, cmd("HDEL").arg("t:meta").arg("publish:1:items")).await.unwrap();
    publisher.load_items(loaded, &mut Exact::default(), |_| {}).await.unwrap();
    publisher.build_index(|_| {}).await.unwrap();
    let error = publisher.verify(500, &exact, 0.9).await.unwrap_err();
    assert!(error.to_string().contains("of the exact neighbours"), "{error}");
    let error = publisher.verify(501, &Exact::default(), 0.0).await.unwrap_err();
    assert!(error.to_string().contains("500 items of 501"), "{error}");
}

#[tokio::test]
async fn a_users_vector_is_a_query_by_hand() {
    let (_server, client) = redis();
    write_items(&client, 300).await;
    let users = Users::new(client.clone(), AttributeSchema::default());
    let update = UserUpdate { state: Some(b"s".to_vec()), ..UserUpdate::default() };
    users.write(WRITE, &[UserWrite::Update { id: "u".to_owned(), position: Position(1), update }]).await.unwrap();
    let publisher = publisher(&client, "1");
    let (items, query) = (factors(1, 300), factors(9, 1).remove(0).1);
    publisher.load_items(items.clone(), &mut Exact::default(), |_| {}).await.unwrap();
    let loaded = publisher.load_users([("u", &query), ("nobody", &query)], None, |_| {}).await.unwrap();
    assert_eq!((loaded.written, loaded.absent), (1, 1));
    publisher.build_index(|_| {}).await.unwrap();
    publisher.flip().await.unwrap();
    let vector = users.read(&["u"]).await.unwrap().remove(0).unwrap().embedding.unwrap();
    let mut by_hand = cmd("FT.SEARCH");
    by_hand.arg("t:idx:items").arg("*=>[KNN 1 @embedding $vec AS score]").arg("PARAMS").arg(2).arg("vec").arg(vector);
    by_hand.arg("NOCONTENT").arg("DIALECT").arg(2);
    let found = format!("{:?}", client.call(WRITE, &by_hand).await.unwrap());
    assert!(found.contains(&format!("\"t:item:{}\"", best(&query, &items))), "{found}");
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() {
    let (_server, client) = redis();
    for name in ["", "a b", "a:b", "ü", &"x".repeat(65)] {
        let publication = Publication {
            generation: name.to_owned(),
            dimension: 1,
            max_norm: 1.0,
            attributes: AttributeSchema::default(),
        };
        assert_eq!(Publisher::new(client.clone(), publication).unwrap_err().kind(), "settings");
    }
}

/// `cargo test -p tastemaker-redis --test publish -- --ignored --nocapture`: how fast hashes get their vectors, with and without index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_fast_a_generation_is_loaded() {
    let (_server, client) = redis();
    let count = 20_000;
    write_items(&client, count).await;
    let factors = factors(1, count);
    for (generation, index_first) in [("1", false), ("2", true)] {
        let publisher = publisher(&client, generation);
        let started = Instant::now();
        if index_first {
            publisher.build_index(|_| {}).await.unwrap();
        }
        publisher.load_items(factors.iter().map(|(id, f)| (id, f)), &mut Exact::default(), |_| {}).await.unwrap();
        let fields = started.elapsed();
        publisher.build_index(|_| {}).await.unwrap();
        println!("index first {index_first}: fields {fields:?}, indexed {:?}", started.elapsed());
        client.drop_index(generation).await.unwrap();
    }
}

/// What the index made of the items: each time that it takes a hash up it gives it a new number.
async fn taken_up(client: &Client) -> u64 {
    let mut info = cmd("FT.INFO");
    info.arg(client.layout().index("1"));
    let answer = format!("{:?}", client.call(WRITE, &info).await.unwrap());
    let number = answer.split("max_doc_id").nth(1).unwrap().trim_start_matches(|c: char| !c.is_ascii_digit());
    number.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_told_to_takes_up_only_what_an_index_reads() {
    let server = RedisServer::start(&["PARTIAL_INDEXED_DOCS", "1"]);
    let client = client_of(&server, &patient());
    write_items(&client, 500).await;
    let [first, second] = ["1", "2"].map(|generation| publisher(&client, generation));
    for (publisher, seed) in [(&first, 1), (&second, 2)] {
        let factors = factors(seed, 500);
        let all = factors.iter().map(|(id, factor)| (id, factor));
        let loaded = publisher.load_items(all, &mut Exact::default(), |_| {}).await.unwrap();
        assert_eq!(loaded.written, 500);
        if seed == 1 {
            publisher.build_index(|_| {}).await.unwrap();
            publisher.flip().await.unwrap();
        }
    }
    assert_eq!(taken_up(&client).await, 500, "a second generation's vectors");
    // Neither are writes of what is there already, beside what no index reads.
    let write = |position: u64, category: &str, seen: i64| ItemWrite::Upsert {
        id: "i7".to_owned(),
        position: Position(position),
        first_seen: Some(Timestamp::from_micros(seen)),
        attributes: Attributes::from([("category".to_owned(), Value::Text(category.to_owned()))]),
        replace: true,
        vectors: Vec::new(),
    };
    let items = Items::new(client.clone(), schema());
    items.write(WRITE, &[write(600, "b", 1)]).await.unwrap();
    let before = taken_up(&client).await;
    items.write(WRITE, &[write(601, "b", 2)]).await.unwrap();
    assert_eq!(taken_up(&client).await, before);
    items.write(WRITE, &[write(602, "c", 2)]).await.unwrap();
    assert_eq!(taken_up(&client).await, before + 1);
    let stored = items.read(&["i7"]).await.unwrap().remove(0).unwrap();
    assert_eq!((stored.version, stored.first_seen), (Position(602), Some(Timestamp::from_micros(2))));
}
