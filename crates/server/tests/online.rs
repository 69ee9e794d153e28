//! Serving from a real Redis: the same answers as from memory, on any number of servers, and what becomes of them when Redis fails.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Running, SHOP, config, event, send_clicks, send_items};
use hyper::StatusCode;
use serde_json::{Value, json};
use tastemaker_config::RedisConfig;
use tastemaker_redis::{Operation, Value as Answer, cmd};
use tastemaker_server::Access;
use tastemaker_testkit::{Client, Project, RedisCluster, RedisServer};
use tastemaker_training::{TrainOptions, train};

/// `storage.online` comes first, before any section.
const PROJECT: &str = r#"
[redis]
prefix = "shop:"
command_timeout = "250ms"
[redis.index]
kind = "flat"
[embeddings]
rank = 8
iterations = 3
[recommend.sources.item_to_item]
quota = 100
[recommend.context]
device = "tag"
[[features]]
entity = "user"
name = "recent"
aggregate = "count"
[[features]]
entity = "item"
name = "clicks"
aggregate = "count"
"#;

/// What tells answers apart by every feature there is.
const BOOSTED: &str = "boost = \"1 + 0.01 * coalesce(item.clicks, 0) + 0.001 * coalesce(user.recent, 0)\"\n";

fn project(redis: Option<&RedisServer>) -> String {
    let shop = SHOP.replace("[recommend]\n", &format!("[recommend]\n{BOOSTED}"));
    let online = redis.map(|redis| format!("[storage]\nonline = \"{}\"\n", redis.url())).unwrap_or_default();
    format!("{shop}{PROJECT}{online}")
}

async fn train_one(project: &Project) -> u64 {
    let config = config(project);
    let options = TrainOptions { holdout: false, promote: true, force: true };
    let trained = move || train(&config, options, "test", &mut |_| ControlFlow::Continue(())).unwrap();
    tokio::task::spawn_blocking(trained).await.unwrap().version.0
}

/// A server that follows its log into this Redis, with a published model.
async fn shop(redis: &RedisServer) -> Running {
    shop_of(&project(Some(redis))).await
}

/// The same on a Redis that is reached in the way that these settings name, with one search a request.
async fn shop_by(redis: &RedisServer, way: &str) -> Running {
    let toml = project(Some(redis)).replace("quota = 100\n", "").replace("[redis]\n", &format!("[redis]\n{way}"));
    shop_of(&toml).await
}

async fn shop_of(toml: &str) -> Running {
    let server = Running::of(Project::new(toml)).await;
    server.until_online(|online| online["whole"] == true).await;
    send_items(&server.client, 300).await;
    send_clicks(&server.client, 80, 300, 4_000).await;
    let version = train_one(&server.project).await;
    server.until_online(|online| online["generation"] == version && online["pending"] == 0).await;
    // The other half of the server has seen it, too.
    tokio::time::sleep(Duration::from_millis(700)).await;
    server
}

/// A server without a log beside it.
async fn stateless(redis: &RedisServer, server: &Running) -> Running {
    let stateless = Project::new(&project(Some(redis)));
    let data = stateless.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(server.project.path().join("data/generations"), data.join("generations")).unwrap();
    let stateless = Running::with(stateless, Access::Stateless).await;
    stateless.until_online(|online| online["whole"] == true && online["generation"] == 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    stateless
}

/// Items with scores, and what the answer lacks.
async fn ask(client: &Client, body: &Value) -> (Vec<(String, f64)>, Vec<String>) {
    let answer = client.post("/v1/recommendations", body).await.expect(200).json();
    let items = answer["items"].as_array().unwrap().iter();
    let scored = items.map(|item| (item["item_id"].as_str().unwrap().to_owned(), item["score"].as_f64().unwrap()));
    let lacks = answer["degraded"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned());
    (scored.collect(), lacks.collect())
}

fn requests() -> Vec<Value> {
    let filters = [
        json!({}),
        json!({"filter": "category = 'books'"}),
        json!({"filter": "category IN ('books', 'games') AND price < 120 AND available"}),
        json!({"filter": "title LIKE '%7%'"}),
        json!({"filter": "price = 41"}),
        json!({"filter": "coalesce(item.clicks, 0) > 5"}),
        json!({"exclude": ["i1", "i2", "i3"], "include_seen": true}),
    ];
    let users = ["u1", "u7", "u23", "u64", "nobody knows me"];
    let request = |user: &str, rest: &Value| {
        let mut request = json!({"user_id": user, "limit": 20});
        request.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        request
    };
    users.iter().flat_map(|user| filters.iter().map(|rest| request(user, rest)).collect::<Vec<_>>()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_redis_are_those_from_memory_on_every_server() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let memory = |body: &Value| {
        let request = tastemaker_recommend::RecommendRequest {
            user_id: body["user_id"].as_str().unwrap().to_owned(),
            limit: Some(20),
            filter: body["filter"].as_str().map(str::to_owned),
            exclude: body["exclude"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|id| id.as_str().unwrap().to_owned())
                .collect(),
            include_seen: body["include_seen"].as_bool(),
            ..Default::default()
        };
        let answer = server.engine.recommend_here(&request).unwrap();
        answer.items.into_iter().map(|item| (item.item_id, f64::from(item.score))).collect::<Vec<_>>()
    };
    let stateless = stateless(&redis, &server).await;

    for body in requests() {
        let expected = memory(&body);
        assert!(!expected.is_empty() || body["filter"] == "price = 41", "{body}");
        for client in [&server.client, &stateless.client] {
            let (items, lacks) = ask(client, &body).await;
            assert_eq!(lacks, Vec::<String>::new(), "{body}");
            let ids = |items: &[(String, f64)]| items.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&items), ids(&expected), "{body}");
            for ((id, score), (_, wanted)) in items.iter().zip(&expected) {
                assert!((score - wanted).abs() < 1e-6, "{body}: {id} {score} {wanted}");
            }
        }
    }

    let asked = json!({"entities": {"user": ["u1", "u7", "nobody"], "item": ["i1", "i2", "gone"]},
        "features": ["user.recent", "item.clicks", "user_embedding", "item_embedding"]});
    let read = async |client: &Client| {
        let answer = client.post("/v1/features/online", &asked).await.expect(200).json();
        answer["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (f["values"].clone(), f["statuses"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&stateless.client).await, read(&server.client).await);
    for path in ["/v1/items/i4", "/v1/users/u1"] {
        let (one, other) = (server.client.get(path).await.expect(200), stateless.client.get(path).await.expect(200));
        assert_eq!(one.json(), other.json());
    }
    let similar = async |client: &Client| {
        let answer = client.get("/v1/items/i5/similar?limit=10").await.expect(200).json();
        answer["items"].as_array().unwrap().iter().map(|item| item["item_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(similar(&stateless.client).await, similar(&server.client).await);
    let refused = stateless.client.post("/v1/events", &json!({"events": [event("e", "u1", "i1")]})).await.expect(409);
    assert!(refused.text().contains("send writes to the server that has it"), "{}", refused.text());
    stateless.client.get("/v1/users").await.expect(409);
    stateless.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateless_server_that_lacks_the_newest_model_serves_with_the_one_before() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    assert_eq!(train_one(&server.project).await, 2);
    server.until_online(|online| online["whole"] == true && online["generation"] == 2).await;
    let project = Project::new(&project(Some(&redis)));
    let folder = project.path().join("data/generations");
    std::fs::create_dir_all(&folder).unwrap();
    let generations = server.project.path().join("data/generations");
    std::os::unix::fs::symlink(generations.join("0000000001"), folder.join("0000000001")).unwrap();
    let stateless = Running::with(project, Access::Stateless).await;
    let lacks_it = |online: &Value| online["generation"] == 2 && online["missing_model"].is_string();
    stateless.until_online(|online| online["whole"] == true && lacks_it(online)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let ready = stateless.client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["generation"]["version"], 1, "{ready}");
    let metrics = stateless.client.get("/metrics").await.expect(200).text().to_owned();
    assert!(metrics.lines().any(|line| line == "tastemaker_generation_version 1"), "{metrics}");
    let (items, lacks) = ask(&stateless.client, &json!({"user_id": "u1", "limit": 5})).await;
    assert_eq!((items.len(), lacks), (5, Vec::new()));
    stateless.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_in_redis() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let item =
        json!({"id": "new", "attributes": {"title": "Brand new", "category": "books", "price": 7, "available": true}});
    server.client.post("/v1/items", &json!({"items": [item]})).await.expect(200);
    assert!(redis.raw("HGET shop:item:new title").contains("Brand new"));
    let (items, _) = ask(&server.client, &json!({"user_id": "u1", "filter": "title = 'Brand new'"})).await;
    assert_eq!(items.len(), 1, "a new item is found at once");
    server.client.delete("/v1/items/new").await.expect(204);
    let (items, _) = ask(&server.client, &json!({"user_id": "u1", "filter": "title = 'Brand new'"})).await;
    assert!(items.is_empty(), "a deleted one is not");
    let before = ask(&server.client, &json!({"user_id": "fresh one"})).await.0;
    server.client.post("/v1/events", &json!({"events": [event("f1", "fresh one", "i9")]})).await.expect(200);
    let after = ask(&server.client, &json!({"user_id": "fresh one"})).await.0;
    assert_ne!(before, after, "a click changes the next answer");
    server.client.delete("/v1/users/fresh%20one").await.expect(204);
    assert!(
        !redis.raw("HGETALL \"shop:user:fresh one\"").contains(":state"),
        "nothing of a user who is forgotten stays"
    );
    server.stop().await;
}

/// Asks until it is stopped; gives the statuses, the longest time, and how many answers lacked something.
async fn load(client: Client, stop: Arc<AtomicBool>, number: u64) -> (Vec<StatusCode>, Duration, usize) {
    let (mut failed, mut longest, mut degraded) = (Vec::new(), Duration::ZERO, 0);
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"user_id": format!("u{}", number % 80), "limit": 10});
        let began = Instant::now();
        let answer = client.post("/v1/recommendations", &body).await;
        longest = longest.max(began.elapsed());
        if answer.status == StatusCode::OK {
            let json = answer.json();
            assert_eq!(json["items"].as_array().unwrap().len(), 10, "{json}");
            degraded += usize::from(!json["degraded"].as_array().unwrap().is_empty());
        } else {
            failed.push(answer.status);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (failed, longest, degraded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_fails_and_nothing_is_lost_while_redis_does() {
    let mut redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let stop = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..4).map(|n| tokio::spawn(load(server.client.clone(), Arc::clone(&stop), n))).collect();
    let mut sent = 0;
    let mut click = async || {
        sent += 1;
        let events = json!({"events": [event(&format!("x{sent}"), "u5", &format!("i{}", sent % 300))]});
        server.client.post("/v1/events", &events).await.expect(200);
    };
    let whole_again = async |fault: &str| {
        let began = Instant::now();
        loop {
            let lacks = ask(&server.client, &json!({"user_id": "u5"})).await.1;
            if lacks.is_empty() {
                return println!("{fault}: whole again after {:?}", began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{fault}: {lacks:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for fault in ["frozen", "killed", "flushed", "full", "read-only"] {
        match fault {
            "frozen" => redis.freeze(),
            "killed" => redis.kill(),
            "flushed" => drop(redis.raw("FLUSHALL")),
            "full" => drop(redis.raw("CONFIG SET maxmemory 1mb")),
            _ => drop(redis.raw("REPLICAOF 127.0.0.1 1")),
        }
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            click().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match fault {
            "frozen" => redis.thaw(),
            "killed" => redis.restart(),
            "flushed" => {}
            "full" => drop(redis.raw("CONFIG SET maxmemory 0")),
            _ => drop(redis.raw("REPLICAOF NO ONE")),
        }
        whole_again(fault).await;
    }
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        let (failed, longest, degraded) = asker.await.unwrap();
        println!("longest {longest:?}, {degraded} lacked something");
        assert_eq!(failed, Vec::<StatusCode>::new(), "no answer fails");
        assert!(degraded > 0, "answers without Redis say so");
    }
    // Every click is in Redis, once.
    let asked = json!({"entities": {"user": ["u5"]}, "features": ["user.recent"]});
    let counted = server.client.post("/v1/features/online", &asked).await.expect(200).json();
    let counted = counted["features"][0]["values"][0].as_f64().unwrap().to_string();
    let began = Instant::now();
    while !redis.raw("HGET shop:user:u5 recent").lines().any(|line| line == counted) {
        assert!(began.elapsed() < Duration::from_secs(5), "{counted}: {}", redis.raw("HGET shop:user:u5 recent"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

type Dump = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Every hash of ours, as it is, but for the positions of its last write.
async fn dump(redis: &RedisServer) -> Dump {
    const READ: Operation = Operation::repeatable("dump").bulk();
    let client = tastemaker_redis::Client::open(&redis.url(), &RedisConfig::default(), Arc::new(())).unwrap();
    let mut all = Dump::new();
    for pattern in ["shop:item:*", "shop:user:*"] {
        let Answer::Array(keys) = client.call(READ, cmd("KEYS").arg(pattern)).await.unwrap() else { panic!("no list") };
        for key in keys {
            let Answer::BulkString(key) = key else { panic!("no key") };
            let hash = tastemaker_redis::fields(client.call(READ, cmd("HGETALL").arg(&key)).await.unwrap()).unwrap();
            let mut hash: BTreeMap<_, _> = hash.into_iter().filter(|(name, _)| name != ":version").collect();
            // The last change of any item that it was written with.
            hash.get_mut(":row").into_iter().for_each(|row| row[1..9].fill(0));
            all.insert(String::from_utf8(key).unwrap(), hash);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_ends_as_it_was_and_a_restart_goes_on() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    server.client.delete("/v1/items/i9").await.expect(204);
    server.until_online(|online| online["pending"] == 0).await;
    let before = dump(&redis).await;
    assert!(before.len() >= 380, "{} users and items", before.len());
    assert!(before["shop:item:i9"].contains_key(":deleted"), "{:?}", before["shop:item:i9"]);
    let project = server.stop().await;

    // Without a server that follows: what a rebuild alone does.
    redis.raw("FLUSHALL");
    redis.raw("HSET shop:user:stranger :version 5 a b");
    redis.raw("HSET shop:user:of-somebody-else a b");
    redis.raw("HSET shop:item:i9 :version 5 title back");
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    let rebuilt = tastemaker_remote::rebuild(&follower, |_| ()).await.unwrap();
    assert_eq!((rebuilt.written, rebuilt.removed), (before.len(), 1));
    assert_eq!(redis.raw("DEL shop:user:of-somebody-else"), ":1\r\n", "what has no position is none of ours");
    tastemaker_remote::publish(&follower, 1, |_| ()).await.unwrap();
    let after = dump(&redis).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (key, value) in &before {
        assert_eq!(value, &after[key], "{key}");
    }

    // What was written while Redis was away is there after a restart.
    redis.freeze();
    let server = Running::of(project).await;
    server.client.post("/v1/events", &json!({"events": [event("late", "late comer", "i3")]})).await.expect(200);
    let project = server.stop().await;
    redis.thaw();
    let server = Running::of(project).await;
    server.until_online(|online| online["whole"] == true && online["pending"] == 0).await;
    assert!(redis.raw("HGET \"shop:user:late comer\" recent").contains('1'));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_most_items_pass_is_checked_on_what_is_near() {
    let redis = RedisServer::start(&[]);
    let toml = project(Some(&redis)).replace("quota = 100\n", "").replace("kind = \"flat\"", "kind = \"hnsw\"");
    let server = shop_of(&toml.replace("[recommend]\n", "[recommend]\ncandidates = 30\n")).await;
    // Who has met little: nothing has to be made up for.
    server.client.post("/v1/events", &json!({"events": [event("first", "few", "i7")]})).await.expect(200);
    redis.raw("CONFIG SET slowlog-log-slower-than 0");
    let body = json!({"user_id": "few", "limit": 20, "filter": "price >= 5"});
    let deadline = Instant::now() + Duration::from_secs(10);
    // Not before it was counted how many pass.
    let unfiltered = loop {
        redis.raw("SLOWLOG RESET");
        let (items, lacks) = ask(&server.client, &body).await;
        assert_eq!(lacks, Vec::<String>::new());
        let price = |id: &str| id[1..].parse::<u32>().unwrap();
        assert!(items.len() == 20 && items.iter().all(|(id, _)| price(id) >= 5), "{items:?}");
        let log = redis.raw("SLOWLOG GET -1");
        if let Some(search) = log.split("FT.SEARCH").nth(1).filter(|search| search.contains("*=>[KNN")) {
            break search.to_owned();
        }
        assert!(Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let asked: usize = unfiltered.split("KNN ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((33..100).contains(&asked), "{unfiltered}");
    let request = tastemaker_recommend::RecommendRequest {
        user_id: "few".to_owned(),
        limit: Some(20),
        filter: Some("price >= 5".to_owned()),
        ..Default::default()
    };
    let expected: Vec<_> = server.engine.recommend_here(&request).unwrap().items;
    let (items, _) = ask(&server.client, &body).await;
    let same = expected.iter().filter(|item| items.iter().any(|(id, _)| *id == item.item_id)).count();
    assert!(same >= 19, "{items:?} {expected:?}");
    server.stop().await;
}

/// Another process may begin to fill Redis after a loss that this one has not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_whose_redis_is_emptied_meanwhile_begins_again_whoever_else_fills_it() {
    let redis = RedisServer::start(&[]);
    let project = shop_by(&redis, "pipeline = 50\n").await.stop().await;
    let before = dump(&redis).await;
    let definitions = redis.raw("HGET shop:meta definitions");
    let definitions = definitions.lines().nth(1).unwrap();
    let emptied = AtomicBool::new(false);
    let empty = |_| {
        if !emptied.swap(true, Ordering::SeqCst) {
            redis.raw("FLUSHALL");
            redis.raw(&format!("HSET shop:meta filling {definitions} filling:another {definitions}"));
        }
    };
    redis.raw("FLUSHALL");
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    tastemaker_remote::rebuild(&follower, empty).await.unwrap();
    let after = dump(&redis).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let meta = redis.raw("HGETALL shop:meta");
    assert!(meta.contains("project") && !meta.contains("filling"), "{meta}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_log_is_not_mixed_with_what_redis_has() {
    let redis = RedisServer::start(&[]);
    shop(&redis).await.stop().await;
    let server = Running::start(&project(Some(&redis))).await;
    server.client.post("/v1/events", &json!({"events": [event("a", "u1", "i1")]})).await.expect(200);
    let project = server.stop().await;
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    let rebuilt = tastemaker_remote::rebuild(&follower, |_| ()).await.unwrap();
    assert_eq!(rebuilt.written, 2, "one user and one item");
    assert_eq!(dump(&redis).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_rights_of_the_documentation_are_enough() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER tastemaker")).unwrap();
    let redis = RedisServer::start(&[]);
    assert_eq!(redis.raw(line).trim(), "+OK");
    let url = redis.url().replace("redis://", "redis://tastemaker:PASSWORD@");
    let toml = project(Some(&redis)).replace(&redis.url(), &url);
    let server = Running::start(&toml).await;
    server.until_online(|online| online["whole"] == true).await;
    send_items(&server.client, 100).await;
    send_clicks(&server.client, 20, 100, 1_000).await;
    let version = train_one(&server.project).await;
    server.until_online(|online| online["generation"] == version && online["pending"] == 0).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (items, lacks) = ask(&server.client, &json!({"user_id": "u1", "filter": "price < 50"})).await;
    assert!(items.len() == 10 && lacks.is_empty(), "{lacks:?}");
    let metrics = server.client.get("/metrics").await.text();
    assert!(!metrics.contains("no_permission"), "{metrics}");
    let project = server.stop().await;
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    redis.raw("HSET shop:user:stranger :version 5 a b");
    redis.raw("HSET shop:user:newer :version 99999999 a b");
    assert_eq!(tastemaker_remote::rebuild(&follower, |_| ()).await.unwrap().removed, 1);
    assert!(redis.raw("EXISTS shop:user:newer").contains('1'), "what a server wrote since is not removed");
}

/// What somebody with redis-py does by hand.
const BY_HAND: &str = r#"
import json, sys
import numpy as np
import redis
from redis.commands.search.query import Query
redis_client = redis.Redis.from_url(sys.argv[1])
v = np.frombuffer(redis_client.hget("shop:user:u7", "embedding"), dtype=np.float32)
query = Query("*=>[KNN 50 @embedding $vec AS score]").sort_by("score").paging(0, 50).dialect(2)
found = redis_client.ft("shop:idx:items").search(query, query_params={"vec": v.tobytes()})
books = Query("(@category:{books} @available:{1})=>[KNN 5 @embedding $vec AS score]").sort_by("score").dialect(2)
few = redis_client.ft("shop:idx:items").search(books, query_params={"vec": v.tobytes()})
item = redis_client.hgetall("shop:item:i4")
exact = {}
for key in redis_client.scan_iter("shop:item:*"):
    x = redis_client.hget(key, "embedding_1")
    if x is not None:
        exact[key.decode()] = float(np.dot(np.frombuffer(x, dtype=np.float32), v))
print(json.dumps({
    "found": [doc.id for doc in found.docs],
    "exact": sorted(exact, key=lambda key: -exact[key])[:50],
    "few": [[doc.category, doc.available] for doc in few.docs],
    "item": {name.decode(): value.decode() for name, value in item.items() if not name.startswith((b":", b"embedding"))},
}))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_redis_tool_reads_a_published_project() {
    let Some(python) = std::env::var_os("TASTEMAKER_PYTHON") else {
        println!("skipped: TASTEMAKER_PYTHON is not set");
        return;
    };
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let out = std::process::Command::new(python).args(["-c", BY_HAND, &redis.url()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(seen["found"].as_array().unwrap().len(), 50);
    assert_eq!(seen["found"], seen["exact"], "the nearest are those of the largest inner product");
    let few = seen["few"].as_array().unwrap();
    assert!(few.len() == 5 && few.iter().all(|item| *item == json!(["books", "1"])), "{few:?}");
    assert_eq!(seen["item"], json!({"title": "Item 4", "category": "tools", "price": "4", "available": "1"}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_a_flip() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    send_clicks(&server.client, 80, 300, 5_000).await;
    let second = train_one(&server.project).await;
    server.until_online(|online| online["generation"] == second).await;
    assert!(redis.raw("HEXISTS shop:item:i1 embedding_1").contains('1'), "the one before stays");
    server.client.send(hyper::Method::POST, "/v1/models/embeddings/rollback", None).await.expect(200);
    server.until_online(|online| online["generation"] == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_definitions_write_redis_anew() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let body = json!({"user_id": "u7", "limit": 10, "filter": "sale", "include_seen": true});
    server.client.post("/v1/recommendations", &body).await.expect(400);
    let read = |feature: &str| json!({"entities": {"user": ["u7"]}, "features": [feature]});
    let before = server.client.post("/v1/features/online", &read("user.recent")).await.expect(200).json();
    let stopped = server.stop().await;
    // Of a generation that was never served.
    redis.raw("FT.CREATE shop:idx:items:9 ON HASH PREFIX 1 shop:item: SCHEMA category TAG");

    // A feature that counts something else, another attribute to filter by, and what is positive: nothing of what Redis has fits any more.
    let changed = std::fs::read_to_string(stopped.file()).unwrap();
    let changed = changed
        .replace("name = \"recent\"\naggregate = \"count\"", "name = \"recent\"\naggregate = \"count\"\nwindow = \"1h\"\n[[features]]\nentity = \"user\"\nname = \"ever\"\naggregate = \"count\"")
        .replace("[items.attributes]\n", "[items.attributes]\nsale = \"bool\"\n");
    assert!(changed.contains("ever") && changed.contains("sale"));
    std::fs::write(stopped.file(), changed).unwrap();
    let server = Running::of(stopped).await;
    server.until_online(|online| online["whole"] == true && online["generation"] == 1 && online["pending"] == 0).await;
    let item = json!({"items": [{"id": "i7", "attributes": {"category": "books", "sale": true}}]});
    server.client.post("/v1/items", &item).await.expect(200);
    tokio::time::sleep(Duration::from_millis(700)).await;

    let (items, lacks) = ask(&server.client, &body).await;
    assert_eq!((items.len(), items[0].0.as_str(), lacks), (1, "i7", Vec::new()), "the index knows the new attribute");
    assert!(!redis.raw("FT._LIST").contains("idx:items:9"), "no index of before stays");
    let after = server.client.post("/v1/features/online", &read("user.ever")).await.expect(200).json();
    assert_eq!(before["features"][0]["values"], after["features"][0]["values"], "{before} {after}");
    assert!(before["features"][0]["values"][0].as_f64().is_some_and(|count| count > 0.0), "{before}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_served_before_is_removed_after_its_time() {
    let redis = RedisServer::start(&[]);
    let toml = project(Some(&redis)).replace("[redis]\n", "[redis]\nretire_after = \"2s\"\n");
    let server = Running::start(&toml).await;
    send_items(&server.client, 50).await;
    send_clicks(&server.client, 20, 50, 500).await;
    train_one(&server.project).await;
    server.until_online(|online| online["generation"] == 1).await;
    let fields = || redis.raw("HKEYS shop:item:i7");
    let indexes = || redis.raw("FT._LIST");
    train_one(&server.project).await;
    server.until_online(|online| online["generation"] == 2).await;
    assert!(indexes().contains("idx:items:1"), "going back would be a flip");
    let deadline = Instant::now() + Duration::from_secs(20);
    while indexes().contains("idx:items:1") || fields().contains("embedding_1") {
        assert!(Instant::now() < deadline, "{} {}", indexes(), fields());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(indexes().contains("idx:items:2") && fields().contains("embedding_2"));
    let (items, lacks) = ask(&server.client, &json!({"user_id": "u7", "limit": 10})).await;
    assert_eq!((items.len(), lacks), (10, Vec::new()));
    server.stop().await;
}

/// Lookups of this tier with this result until now.
async fn lookups(client: &Client, cache: &str, result: &str) -> u64 {
    let line = format!("tastemaker_cache_lookups_total{{cache=\"{cache}\",result=\"{result}\"}} ");
    let text = client.get("/metrics").await.text();
    let value = text.lines().find_map(|known| known.strip_prefix(&line)).unwrap_or_else(|| panic!("no {line}"));
    value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_remembered_until_redis_tells_of_a_change() {
    let mut redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let stateless = stateless(&redis, &server).await;
    let title = async |client: &Client| {
        let answer = client.get("/v1/items/i7").await;
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status), "{}", answer.text());
        answer.json()["attributes"]["title"].as_str().unwrap_or_default().to_owned()
    };
    let client = &stateless.client;
    assert_eq!(title(client).await, "Item 7");
    let hits = lookups(client, "items", "hit").await;
    assert_eq!(title(client).await, "Item 7");
    assert!(lookups(client, "items", "hit").await > hits);
    client.get("/v1/items/nothing").await.expect(404);
    assert!(lookups(client, "redis_items", "hit").await > 0 && lookups(client, "redis_items", "miss").await > 0);
    let rank = json!({"user_id": "u7", "items": ["i7", "i8"]});
    for client in [&server.client, &stateless.client] {
        client.post("/v1/rank", &rank).await.expect(200);
        let hits = lookups(client, "items", "hit").await;
        client.post("/v1/rank", &rank).await.expect(200);
        assert!(lookups(client, "items", "hit").await >= hits + 2);
    }
    let mut changes = 0;
    let mut change = async || {
        changes += 1;
        let item = json!({"items": [{"id": "i7", "attributes": {"title": format!("Changed {changes}")}}]});
        server.client.post("/v1/items", &item).await.expect(200);
        assert_eq!(title(&server.client).await, format!("Changed {changes}"), "whoever wrote it reads it");
        let deadline = Instant::now() + Duration::from_secs(2);
        while title(&stateless.client).await != format!("Changed {changes}") {
            assert!(Instant::now() < deadline, "not told of change {changes}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    for _ in 0..20 {
        change().await;
    }
    // While nothing can be heard, nothing is remembered; then it is again.
    redis.kill();
    redis.restart();
    server
        .until_online(|online| online["breaker"] == "closed" && online["whole"] == true && online["pending"] == 0)
        .await;
    stateless.until_online(|online| online["breaker"] == "closed" && online["whole"] == true).await;
    change().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let hits = lookups(&stateless.client, "items", "hit").await;
    change().await;
    title(&stateless.client).await;
    assert!(lookups(&stateless.client, "items", "hit").await > hits, "remembered again");
    stateless.stop().await;
    server.stop().await;
}

/// Each answer is that from memory, and lacks nothing.
async fn answers_are_those_from_memory(server: &Running) {
    for user in ["u1", "u7", "nobody knows me"] {
        for filter in [None, Some("category = 'books'"), Some("price < 120 AND available")] {
            let request = tastemaker_recommend::RecommendRequest {
                user_id: user.to_owned(),
                limit: Some(20),
                filter: filter.map(str::to_owned),
                ..Default::default()
            };
            let expected = server.engine.recommend_here(&request).unwrap();
            let expected: Vec<String> = expected.items.into_iter().map(|item| item.item_id).collect();
            let body = json!({"user_id": user, "limit": 20, "filter": filter});
            let (items, lacks) = ask(&server.client, &body).await;
            assert_eq!(lacks, Vec::<String>::new(), "{body}");
            assert_eq!(items.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected, "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_alike() {
    let cluster = RedisCluster::start(3);
    let nodes = cluster.nodes();
    let way = format!("topology = \"cluster\"\nnodes = [\"127.0.0.1:{}\"]\n", nodes[1].port());
    let server = shop_by(&nodes[0], &way).await;
    answers_are_those_from_memory(&server).await;
    let ranked = json!({"user_id": "u7", "items": ["i7", "i8"]});
    server.client.post("/v1/rank", &ranked).await.expect(200);
    let hits = lookups(&server.client, "items", "hit").await;
    server.client.post("/v1/rank", &ranked).await.expect(200);
    assert!(lookups(&server.client, "items", "hit").await >= hits + 2, "every master tells what changes");

    // A node that somebody emptied, though not the one that says that all is there, is filled again.
    let keys = || -> u64 { nodes.iter().map(|node| node.raw("DBSIZE").trim()[1..].parse::<u64>().unwrap()).sum() };
    let before = keys();
    let emptied = nodes.iter().find(|node| node.raw("EXISTS shop:meta").starts_with("-MOVED")).unwrap();
    emptied.raw("FLUSHALL");
    let deadline = Instant::now() + Duration::from_secs(30);
    let body = json!({"user_id": "u1"});
    while keys() < before || !ask(&server.client, &body).await.1.is_empty() {
        assert!(Instant::now() < deadline, "{} keys of {before}", keys());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    answers_are_those_from_memory(&server).await;

    // What the log does not know is removed from each node.
    let project = server.stop().await;
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    let strangers = 40;
    for n in 0..strangers {
        let taken =
            nodes.iter().filter(|node| node.raw(&format!("HSET shop:user:stranger{n} :version 5 a b")).contains(":2"));
        assert_eq!(taken.count(), 1, "one node has the key");
    }
    assert_eq!(tastemaker_remote::rebuild(&follower, |_| ()).await.unwrap().removed, strangers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_with_the_master_that_sentinels_name() {
    let mut master = RedisServer::start(&[]);
    let port = master.port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = RedisServer::sentinel(&master, "shop");
    let server = shop_by(&sentinel, "topology = \"sentinel\"\nsentinel = { master = \"shop\" }\n").await;
    answers_are_those_from_memory(&server).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !sentinel.raw("SENTINEL MASTER shop").contains("num-slaves\r\n$1\r\n1") {
        assert!(Instant::now() < deadline, "the sentinel does not know the replica");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    master.kill();
    // Meanwhile answers are made here, and events are taken.
    let click = json!({"events": [event("meanwhile", "u7", "i9")]});
    server.client.post("/v1/events", &click).await.expect(200);
    let (items, lacks) = ask(&server.client, &json!({"user_id": "u7"})).await;
    assert!(items.len() == 10 && lacks.iter().any(|lack| lack.starts_with("redis:")), "{lacks:?}");
    server
        .until_online(|online| online["breaker"] == "closed" && online["whole"] == true && online["pending"] == 0)
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    answers_are_those_from_memory(&server).await;
    assert!(replica.raw("HGET shop:user:u7 :version").starts_with('$'), "the replica is the master now");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_only_wait_for_redis_is_answered_here() {
    let redis = RedisServer::start(&[]);
    let server = shop_by(&redis, "concurrent_searches = 1\n").await;
    redis.freeze();
    let body = json!({"user_id": "u7"});
    let (one, other) = futures::future::join(ask(&server.client, &body), ask(&server.client, &body)).await;
    redis.thaw();
    let mut lacks = [one.1, other.1].concat();
    lacks.sort();
    assert_eq!(lacks, ["redis:busy", "redis:timeout"]);
    assert!(one.0.len() == 10 && one.0 == other.0, "both have everything, from memory");
    server.until_online(|online| online["breaker"] == "closed").await;
    let (again, lacks) = ask(&server.client, &body).await;
    assert!(again.len() == 10 && lacks.is_empty(), "the place is free again: {lacks:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_with_older_data_is_made_whole() {
    let mut redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    assert_eq!(redis.raw("SAVE"), "+OK\r\n");
    let clicks: Vec<Value> = (0..20).map(|n| event(&format!("late{n}"), &format!("u{}", n % 5), "i3")).collect();
    server.client.post("/v1/events", &json!({"events": clicks})).await.expect(200);
    server.client.post("/v1/events", &json!({"events": [event("first", "nobody yet", "i3")]})).await.expect(200);
    server.client.delete("/v1/items/i21").await.expect(204);
    server.until_online(|online| online["pending"] == 0).await;
    let before = dump(&redis).await;
    redis.kill();
    redis.restart();
    let began = Instant::now();
    while dump(&redis).await != before {
        assert!(began.elapsed() < Duration::from_secs(20), "what was acknowledged is not there again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.until_online(|online| online["whole"] == true && online["pending"] == 0).await;
    // The other half of the server has seen it, too.
    tokio::time::sleep(Duration::from_millis(700)).await;
    answers_are_those_from_memory(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_somebody_dropped_is_made_again() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    redis.raw("FT.DROPINDEX shop:idx:items:1");
    let began = Instant::now();
    let body = json!({"user_id": "u7"});
    assert!(!ask(&server.client, &body).await.1.is_empty(), "an answer without index says so");
    while !ask(&server.client, &body).await.1.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "no index");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    answers_are_those_from_memory(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_another_projects_is_left_alone() {
    let redis = RedisServer::start(&[]);
    let server = shop(&redis).await;
    let before = dump(&redis).await;
    let toml = format!("[project]\nname = \"other\"\n{}", project(Some(&redis)));
    let other = Running::of(Project::new(&toml)).await;
    send_items(&other.client, 10).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (_, lacks) = ask(&other.client, &json!({"user_id": "u7"})).await;
    assert!(lacks.contains(&"redis:not_whole".to_owned()), "{lacks:?}");
    let project = other.stop().await;
    let follower = tastemaker_server::follower(config(&project)).unwrap();
    let error = tastemaker_remote::rebuild(&follower, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("not 'other'") && error.contains("redis.prefix"), "{error}");
    assert_eq!(dump(&redis).await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_redis_says_whose_it_is_and_what_is_wrong() {
    let mut redis = RedisServer::start(&["--requirepass", "hunter2"]);
    let port = redis.port();
    let toml = |password: &str| {
        let online = format!("redis://:{password}@127.0.0.1:{port}");
        format!("[storage]\nonline = \"{online}\"\n[redis]\nprefix = \"shop:\"\n")
    };
    let inspect = async |password: &str| {
        let config = tastemaker_config::Config::parse(&toml(password)).unwrap();
        tastemaker_remote::inspect(&config).await.map(Option::unwrap)
    };
    let empty = inspect("hunter2").await.unwrap();
    assert_eq!((empty.project, empty.generation, empty.health.role.as_str()), (None, None, "master"));
    let refused = inspect("hunter3").await.unwrap_err().to_string();
    assert!(refused.contains("user and password") && !refused.contains("hunter"), "{refused}");
    redis.kill();
    let config = tastemaker_config::Config::parse(&toml("hunter2")).unwrap();
    let away = tastemaker_remote::inspect(&config).await.unwrap_err().to_string();
    assert!(away.contains("cannot be reached") && !away.contains("hunter"), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_few_pass_and_redis_cannot_check_still_finds_them() {
    let redis = RedisServer::start(&[]);
    let server = shop_of(&project(Some(&redis)).replace("[recommend]\n", "[recommend]\ncandidates = 10\n")).await;
    let stateless = stateless(&redis, &server).await;
    // Some of these are far from what the user likes, and beyond the first search.
    for item in [3, 77, 150, 201, 233, 299] {
        let filter = format!("title = 'Item {item}'");
        let body = json!({"user_id": "u7", "limit": 20, "filter": filter, "include_seen": true});
        let (there, lacks) = ask(&server.client, &body).await;
        assert_eq!(there.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [format!("i{item}")], "{body}");
        assert!(lacks.is_empty() || lacks == ["redis:selective"], "{lacks:?}");
        let (elsewhere, lacks) = ask(&stateless.client, &body).await;
        assert_eq!((elsewhere, lacks), (there, Vec::new()), "{body}");
    }
    stateless.stop().await;
    server.stop().await;
}
