//! The same client before sentinels, before a cluster, and as a user with no more rights than it needs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{client_of, patient};
use tastemaker_config::{RedisConfig, RedisProtocol, RedisSentinelConfig, RedisTopology};
use tastemaker_redis::publish::{Exact, Publication, Publisher};
use tastemaker_redis::search::{Filter, Query, Returned};
use tastemaker_redis::{
    Client, ItemWrite, Items, KnnSearch, Nearest, Operation, RedisError, Told, Tracker, UserUpdate, UserWrite, Users,
    Written, cmd,
};
use tastemaker_testkit::{RedisCluster, RedisServer};
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Position, Value, Window};

const WRITE: Operation = Operation::repeatable("write");
const ITEMS: usize = 200;

fn schema() -> AttributeSchema {
    AttributeSchema::new([("category".to_owned(), AttributeType::Tag)])
}

/// Everything that a project does with Redis, once.
async fn everything_works(client: &Client) {
    client.warm().await.unwrap();
    let items = Items::new(client.clone(), schema());
    let upsert = |number: usize, position: u64| ItemWrite::Upsert {
        // Braces are what a cluster looks for in keys. Of these four, every node owns one, and one node two.
        id: format!("i{{{}}}{number}", number % 4),
        position: Position(position),
        first_seen: None,
        attributes: Attributes::from([("category".to_owned(), Value::Text(format!("c{}", number % 2)))]),
        replace: true,
        vectors: Vec::new(),
    };
    let writes: Vec<ItemWrite> = (0..ITEMS).map(|number| upsert(number, 5)).collect();
    assert_eq!(items.write(WRITE, &writes).await.unwrap(), vec![Written::Now; ITEMS]);
    assert_eq!(items.write(WRITE, &[upsert(0, 4), upsert(1, 5)]).await.unwrap(), [Written::Stale, Written::Again]);
    let users = Users::new(client.clone(), AttributeSchema::default());
    let update = UserUpdate { state: Some(b"state".to_vec()), ..UserUpdate::default() };
    users.write(WRITE, &[UserWrite::Update { id: "u".to_owned(), position: Position(1), update }]).await.unwrap();
    assert_eq!(users.read_states(&["u"]).await.unwrap(), [Some((Position(1), b"state".to_vec()))]);

    let publication =
        Publication { generation: "1".to_owned(), dimension: 2, max_norm: ITEMS as f32, attributes: schema() };
    let publisher = Publisher::new(client.clone(), publication).unwrap();
    let ids: Vec<String> = (0..ITEMS).map(|number| format!("i{{{}}}{number}", number % 4)).collect();
    let factors: Vec<(String, [f32; 2])> =
        ids.iter().enumerate().map(|(number, id)| (id.clone(), [number as f32, 1.0])).collect();
    let mut exact = Exact::of([vec![1.0, 0.0], vec![-1.0, 0.5]]);
    let loaded = publisher.load_items(factors.clone(), &mut exact, |_| {}).await.unwrap();
    assert_eq!((loaded.written, loaded.absent), (ITEMS as u64, 0));
    publisher.load_users([("u", [1.0, 0.0])], None, |_| {}).await.unwrap();
    publisher.build_index(|_| {}).await.unwrap();
    publisher.verify(loaded.written, &exact, 0.9).await.unwrap();
    publisher.flip().await.unwrap();
    assert_eq!(client.serving_generation().await.unwrap().as_deref(), Some("1"));

    let search = KnnSearch::new(client.clone(), client.layout().alias(), ITEMS as u64);
    let vector = publisher.format().query(&[1.0, 0.0]);
    let nearest = Nearest {
        vector,
        k: 5,
        filter: Filter::all(),
        returned: Returned::Fields(vec!["category".to_owned()]),
        costly: false,
    };
    let found = search.nearest(&nearest).await.unwrap();
    let expected: Vec<&str> = ids.iter().rev().take(5).map(String::as_str).collect();
    assert_eq!(found.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(found.rows[0].field("category"), Some(&b"c1"[..]));
    let whole = search.nearest(&Nearest { returned: Returned::Hash, ..nearest }).await.unwrap();
    assert_eq!(whole.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(whole.rows[0].field(":version"), Some(&b"5"[..]));
    let all = client.search(WRITE, &Query::count(client.layout().alias(), Filter::all())).await.unwrap();
    assert_eq!(all.total, ITEMS as u64);
    assert_eq!(search.count(&Filter::all()).await.unwrap().documents, ITEMS as u64);
    assert_eq!(items.read(&[&ids[3], "nobody"]).await.unwrap()[1], None);
    assert_eq!(client.index_info(&client.layout().alias()).await.unwrap().documents, ITEMS as u64);
    let health = tastemaker_redis::ServerHealth::together(&client.health().await.unwrap());
    assert!(health.used_memory > 0 && health.version.starts_with(|c: char| c.is_ascii_digit()));
    client.remove_alias().await.unwrap();
    publisher.remove(&ids, |_| {}).await.unwrap();
    items.write(WRITE, &[ItemWrite::Delete { id: ids[0].clone(), position: Position(9) }]).await.unwrap();
    assert_eq!(items.read(&[&ids[0]]).await.unwrap(), [None]);
}

/// Every key with the prefix that is written is told of, and no other one.
async fn changes_are_told(url: &str, client: &Client) {
    let tracker = Tracker::open(url, client.clone(), "t:item:").unwrap();
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listening = tokio::spawn(async move { tracker.run(|what| drop(sender.send(what))).await.map(|_| ()) });
    let mut next = async || tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, Told::Begun);
    let write = |key: &str| {
        let mut set = cmd("HSET");
        set.arg(key).arg("a").arg(1);
        set
    };
    for n in 0..50 {
        client.call(WRITE, &write(&format!("t:user:{n}"))).await.unwrap();
        client.call(WRITE, &write(&format!("t:item:told {n} ü"))).await.unwrap();
    }
    let mut keys = Vec::new();
    while keys.len() < 50 {
        match next().await {
            Told::Changed(key) => keys.push(String::from_utf8(key).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    keys.sort_unstable();
    let mut expected: Vec<String> = (0..50).map(|n| format!("t:item:told {n} ü")).collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    client.call(WRITE, cmd("UNLINK").arg("t:item:told 7 ü")).await.unwrap();
    assert_eq!(next().await, Told::Changed("t:item:told 7 ü".into()));
    listening.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_does_everything() {
    for protocol in [RedisProtocol::Resp2, RedisProtocol::Resp3] {
        let server = RedisServer::start(&[]);
        let config = RedisConfig { protocol, ..patient() };
        let client = client_of(&server, &config);
        everything_works(&client).await;
        changes_are_told(&server.url(), &client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_no_longer_hears_says_so() {
    let mut server = RedisServer::start(&[]);
    let tracker = Arc::new(Tracker::open(&server.url(), client_of(&server, &patient()), "t:item:").unwrap());
    let ears = |tracker: Arc<Tracker>| {
        let (sender, told) = tokio::sync::mpsc::unbounded_channel();
        let run = tokio::spawn(async move { tracker.run(|what| drop(sender.send(what))).await.map(|_| ()) });
        (told, run)
    };
    let (mut told, run) = ears(Arc::clone(&tracker));
    assert_eq!(told.recv().await, Some(Told::Begun));
    server.raw("FLUSHALL");
    assert_eq!(told.recv().await, Some(Told::AllChanged));
    server.kill();
    let ended = tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.kind(), "unreachable", "{ended}");
    assert_eq!(tracker.run(|_| ()).await.map(|_| ()).unwrap_err().kind(), "unreachable");
    server.restart();
    let (mut told, run) = ears(tracker);
    assert_eq!(told.recv().await, Some(Told::Begun));
    server.freeze();
    let ended = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.kind(), "timeout", "{ended}");
    server.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_does_everything() {
    let cluster = RedisCluster::start(3);
    let nodes = cluster.nodes();
    let config = RedisConfig {
        topology: RedisTopology::Cluster,
        nodes: vec![format!("127.0.0.1:{}", nodes[1].port())],
        ..patient()
    };
    for node in nodes {
        assert_eq!(node.raw(&format!("{} {}", acl_line(), acl_of_clusters())).trim_end(), "+OK");
    }
    let url = format!("redis://tastemaker:pass@127.0.0.1:{}", nodes[0].port());
    let client = Client::open(&url, &config, Arc::new(())).unwrap();
    everything_works(&client).await;
    changes_are_told(&url, &client).await;
    // Each node had a part of it.
    let keys = |node: &RedisServer| node.raw("DBSIZE").trim_start_matches(':').trim_end().parse::<usize>().unwrap();
    assert!(nodes.iter().all(|node| keys(node) > ITEMS / 6), "keys are spread");
}

/// The line of docs/redis.md.
fn acl_line() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER tastemaker ")).unwrap();
    line.replace("PASSWORD", "pass").replace("shop:", "t:")
}

/// What docs/redis.md adds to it for a cluster.
fn acl_of_clusters() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis.md")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("In a cluster, also `")).unwrap();
    line.split_once('`').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_docs_name_are_enough_and_reach_no_other_keys() {
    let server = RedisServer::start(&[]);
    assert_eq!(server.raw(&acl_line()).trim_end(), "+OK");
    let url = format!("redis://tastemaker:pass@127.0.0.1:{}", server.port());
    let client = Client::open(&url, &patient(), Arc::new(())).unwrap();
    everything_works(&client).await;
    let other = client.call(WRITE, cmd("HGET").arg("other:item:1").arg("a")).await.unwrap_err();
    assert_eq!(other.kind(), "no_permission");
    for words in [&["FLUSHALL"][..], &["KEYS", "*"], &["CONFIG", "GET", "maxmemory"], &["SHUTDOWN", "NOSAVE"]] {
        let error = client.call(WRITE, cmd(words[0]).arg(&words[1..])).await.unwrap_err();
        assert_eq!(error.kind(), "no_permission", "{error}");
        assert!(error.to_string().contains(&words[0].to_lowercase()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_the_new_master_after_a_failover() {
    let mut master = RedisServer::start(&[]);
    let port = master.port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = RedisServer::sentinel(&master, "shop");
    let config = RedisConfig {
        topology: RedisTopology::Sentinel,
        sentinel: RedisSentinelConfig { master: "shop".to_owned(), ..RedisSentinelConfig::default() },
        command_timeout: Window::from_millis(1_000),
        ..patient()
    };
    let client = client_of(&sentinel, &config);
    let set = |value: u32| {
        let mut set = cmd("SET");
        set.arg("t:a").arg(value);
        set
    };
    let wait = async |what: &str, holds: &mut dyn FnMut() -> bool| {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(30), "not within 30 seconds: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    wait("the replica follows", &mut || replica.raw("INFO replication").contains("master_link_status:up")).await;
    wait("the sentinel knows it", &mut || sentinel.raw("SENTINEL MASTER shop").contains("num-slaves\r\n$1\r\n1")).await;
    client.call(WRITE, &set(1)).await.unwrap();
    wait("it has the value", &mut || replica.raw("GET t:a").contains("1")).await;
    master.kill();
    let start = Instant::now();
    let written = loop {
        match client.call(WRITE, &set(2)).await {
            Ok(_) => break start.elapsed(),
            Err(error) => {
                let passes = error.is_transient() || matches!(error, RedisError::ReadOnly { .. });
                assert!(passes, "{error}");
                assert!(start.elapsed() < Duration::from_secs(30), "no new master: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    assert!(replica.raw("GET t:a").contains("2"), "after {written:?}");
    changes_are_told(&sentinel.url(), &client).await;
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_said() {
    let master = RedisServer::start(&[]);
    let sentinel = RedisServer::sentinel(&master, "shop");
    let config = RedisConfig {
        topology: RedisTopology::Sentinel,
        sentinel: RedisSentinelConfig { master: "other".to_owned(), ..RedisSentinelConfig::default() },
        ..patient()
    };
    let error = client_of(&sentinel, &config).ping().await.unwrap_err();
    assert!(error.to_string().contains("no such master"), "{error}");
}
