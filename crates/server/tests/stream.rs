//! Events from a stream in a real Redis: each entry is in the log once, whatever fails on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Running, SHOP, event, send_items};
use serde_json::{Value, json};
use tastemaker_config::RedisConfig;
use tastemaker_log::LogReader;
use tastemaker_redis::{Client, Operation, StreamReader, StreamSettings, Value as Answer, cmd};
use tastemaker_testkit::{Project, RedisServer};
use tastemaker_types::{Position, Record};

const STREAM: &str = "shop:events";

fn project(redis: &RedisServer, more: &str) -> String {
    format!(
        "{SHOP}[events.source]\nredis_stream = \"{STREAM}\"\nurl = \"{}\"\nclaim_after = \"1s\"\nconsumer = \"one\"\n{more}",
        redis.url()
    )
}

/// Redis as a shop uses it.
struct Shop(Client);

impl Shop {
    fn of(redis: &RedisServer) -> Self {
        let settings = RedisConfig { command_timeout: "5s".parse().unwrap(), ..RedisConfig::default() };
        Self(Client::open(&redis.url(), &settings, std::sync::Arc::new(())).unwrap())
    }

    async fn ask(&self, words: &[&str]) -> Answer {
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        self.0.call(Operation::once("test"), &command).await.unwrap()
    }

    async fn add(&self, fields: &[(&str, &str)]) -> String {
        let mut words = vec!["XADD", STREAM, "*"];
        words.extend(fields.iter().flat_map(|(field, value)| [*field, *value]));
        match self.ask(&words).await {
            Answer::BulkString(id) => String::from_utf8(id).unwrap(),
            other => panic!("no id: {other:?}"),
        }
    }

    async fn click(&self, user: &str, item: &str) -> String {
        self.add(&[("type", "click"), ("user_id", user), ("item_id", item)]).await
    }

    /// Entries that were given to a consumer and not acknowledged, by the group's name.
    async fn pending(&self) -> i64 {
        match self.ask(&["XPENDING", STREAM, "tastemaker"]).await {
            Answer::Array(summary) => match summary.first() {
                Some(Answer::Int(pending)) => *pending,
                other => panic!("no number: {other:?}"),
            },
            other => panic!("no summary: {other:?}"),
        }
    }
}

/// How often each event is in the log.
fn logged(project: &Project) -> BTreeMap<String, usize> {
    let reader = LogReader::open(common::config(project).storage.log_dir()).unwrap();
    let mut events = BTreeMap::new();
    for record in reader.read_from(Position(0)) {
        if let (_, Record::Event(event)) = record.unwrap() {
            *events.entry(event.event_id).or_default() += 1;
        }
    }
    events
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within 30 seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_logged(project: &Project, count: usize) {
    until(&format!("{count} events in the log"), async || logged(project).len() >= count).await;
}

async fn metric(server: &Running, line: &str) -> f64 {
    let text = server.client.get("/metrics").await.text();
    let value = text.lines().find_map(|known| known.strip_prefix(line)).unwrap_or_else(|| panic!("no {line}"));
    value.trim().parse().unwrap()
}

async fn entries(server: &Running, result: &str) -> f64 {
    metric(server, &format!("tastemaker_stream_entries_total{{result=\"{result}\"}}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_changes_the_next_answer() {
    for protocol in ["resp2", "resp3"] {
        let redis = RedisServer::start_bare(&[]);
        let shop = Shop::of(&redis);
        // Before the server has ever asked.
        shop.click("ünïcode 🦀", "i3").await;
        let server =
            Running::of(Project::new(&project(&redis, &format!("[redis]\nprotocol = \"{protocol}\"\n")))).await;
        send_items(&server.client, 10).await;
        until_logged(&server.project, 1).await;
        // It is acknowledged after it takes part, which is a moment after it is in the log.
        until("everything acknowledged", async || shop.pending().await == 0).await;
        let ask = async || {
            let answer =
                server.client.post("/v1/recommendations", &json!({"user_id": "ünïcode 🦀", "limit": 10})).await;
            let items = answer.expect(200).json()["items"].as_array().unwrap().clone();
            items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = ask().await;
        assert!(!before.contains(&"i3".to_owned()) && before.contains(&"i4".to_owned()), "{before:?}");

        let whole =
            json!({"event_id": "given", "type": "purchase", "user_id": "ünïcode 🦀", "item_id": "i4", "value": 2.5});
        let id = shop.add(&[("event", &whole.to_string())]).await;
        until_logged(&server.project, 2).await;
        until("everything acknowledged", async || shop.pending().await == 0).await;
        let after = ask().await;
        assert!(!after.contains(&"i4".to_owned()), "{after:?}");
        assert_eq!(logged(&server.project)["given"], 1, "{id} keeps the id it came with");
        assert_eq!((entries(&server, "accepted").await, metric(&server, "tastemaker_stream_up").await), (2.0, 1.0));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_are_there_once_each_and_http_adds_to_them() {
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    let server = Running::of(Project::new(&project(&redis, ""))).await;
    let mut expected = BTreeMap::from([("over-http".to_owned(), 1)]);
    for batch in 0..10 {
        let user = format!("u{batch}");
        for id in futures::future::join_all((0..1_000).map(|_| shop.click(&user, "i1"))).await {
            expected.insert(format!("{STREAM}:{id}"), 1);
        }
    }
    server.client.post("/v1/events", &json!({"events": [event("over-http", "u1", "i1")]})).await.expect(200);
    until_logged(&server.project, 10_001).await;
    until("everything acknowledged", async || shop.pending().await == 0).await;
    assert!(logged(&server.project) == expected);
    assert_eq!((entries(&server, "accepted").await, entries(&server, "duplicate").await), (10_000.0, 0.0));
    until("the lag is known to be none", async || metric(&server, "tastemaker_stream_lag_entries").await == 0.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_logged_and_not_acknowledged_is_logged_once() {
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    // Everything up to the acknowledgement works, as if the server died just before it.
    shop.ask(&["ACL", "SETUSER", "consumer", "on", ">secret", "~*", "+@all", "-xack"]).await;
    let toml = project(&redis, "").replace("redis://", "redis://consumer:secret@");
    for n in 0..100 {
        shop.click(&format!("u{n}"), "i1").await;
    }
    let server = Running::of(Project::new(&toml)).await;
    until_logged(&server.project, 100).await;
    assert_eq!(metric(&server, "tastemaker_stream_up").await, 0.0);
    let project = server.stop().await;
    assert_eq!(shop.pending().await, 100);

    shop.ask(&["ACL", "SETUSER", "consumer", "+xack"]).await;
    let server = Running::of(project).await;
    until("everything acknowledged", async || shop.pending().await == 0).await;
    let events = logged(&server.project);
    assert!(events.len() == 100 && events.values().all(|times| *times == 1), "{events:?}");
    assert_eq!((entries(&server, "accepted").await, entries(&server, "duplicate").await), (0.0, 100.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_consumer_took_is_taken_over() {
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    let settings = StreamSettings {
        key: STREAM.to_owned(),
        group: "tastemaker".to_owned(),
        consumer: "dead".to_owned(),
        batch: 1_000,
    };
    let dead = StreamReader::open(&redis.url(), &RedisConfig::default(), settings).unwrap();
    dead.ensure_group().await.unwrap();
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(shop.click(&format!("u{n}"), "i1").await);
    }
    assert_eq!(dead.next().await.unwrap().len(), 50);
    // One is deleted before anybody has read it for good: that is said.
    shop.ask(&["XDEL", STREAM, &ids[7]]).await;

    let server = Running::of(Project::new(&project(&redis, "batch = 20\n"))).await;
    until_logged(&server.project, 49).await;
    until("everything acknowledged", async || shop.pending().await == 0).await;
    until("the lost one is counted", async || entries(&server, "lost").await == 1.0).await;
    assert!(logged(&server.project).values().all(|times| *times == 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_entries_are_kept_with_the_reason() {
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    let server = Running::of(Project::new(&project(&redis, "dead_letter = \"shop:bad\"\n"))).await;
    shop.click("u1", "i1").await;
    let wrong = shop.add(&[("type", "clik"), ("user_id", "u1"), ("item_id", "i1")]).await;
    shop.add(&[("event", "{")]).await;
    shop.add(&[("type", "rating"), ("user_id", "u1"), ("item_id", "i1"), ("value", "much")]).await;
    shop.click("u2", "i1").await;
    until_logged(&server.project, 2).await;
    until("three are refused", async || entries(&server, "refused").await == 3.0).await;
    until("everything acknowledged", async || shop.pending().await == 0).await;
    let kept = format!("{:?}", shop.ask(&["XRANGE", "shop:bad", "-", "+"]).await);
    for part in [
        wrong.as_str(),
        "refused:field",
        "unknown event type 'clik'; did you mean 'click'?",
        "clik",
        "is not valid JSON",
        "give a number",
    ] {
        assert!(kept.contains(part), "{part} in {kept}");
    }
    assert_eq!(shop.ask(&["XLEN", "shop:bad"]).await, Answer::Int(3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_again_after_redis_was_killed_emptied_or_frozen() {
    let mut redis = RedisServer::start_bare(&[]);
    let server = Running::of(Project::new(&project(&redis, ""))).await;
    Shop::of(&redis).click("u1", "i1").await;
    until_logged(&server.project, 1).await;

    redis.kill();
    until("the stream is said to be gone", async || metric(&server, "tastemaker_stream_up").await == 0.0).await;
    server.client.post("/v1/events", &json!({"events": [event("meanwhile", "u1", "i2")]})).await.expect(200);
    redis.restart();
    let shop = Shop::of(&redis);
    shop.click("u2", "i1").await;
    until_logged(&server.project, 3).await;
    until("the stream is said to be back", async || metric(&server, "tastemaker_stream_up").await == 1.0).await;

    shop.ask(&["FLUSHALL"]).await;
    shop.click("u3", "i1").await;
    until_logged(&server.project, 4).await;
    shop.ask(&["XGROUP", "DESTROY", STREAM, "tastemaker"]).await;
    shop.click("u4", "i1").await;
    until_logged(&server.project, 5).await;
    shop.ask(&["DEL", STREAM]).await;
    until("the group is made again", async || shop.ask(&["EXISTS", STREAM]).await == Answer::Int(1)).await;

    redis.freeze();
    until("silence is noticed", async || metric(&server, "tastemaker_stream_up").await == 0.0).await;
    redis.thaw();
    shop.click("u5", "i1").await;
    until_logged(&server.project, 6).await;
    assert!(logged(&server.project).values().all(|times| *times == 1));
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "a read that waits does not hold up the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_cannot_be_read_does_not_stop_the_server() {
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    shop.ask(&["SET", STREAM, "no stream"]).await;
    let server = Running::of(Project::new(&project(&redis, ""))).await;
    let ready: Value = server.client.get("/health/ready").await.json();
    assert!(ready.is_object());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(metric(&server, "tastemaker_stream_up").await, 0.0);
    shop.ask(&["DEL", STREAM]).await;
    shop.click("u1", "i1").await;
    until_logged(&server.project, 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_documentation_names_are_enough() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/event-sources.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap().replace(">PASSWORD", ">secret");
    let redis = RedisServer::start_bare(&[]);
    let shop = Shop::of(&redis);
    shop.ask(&line.split(' ').collect::<Vec<_>>()).await;
    let toml = project(&redis, "").replace("redis://", "redis://tastemaker-stream:secret@");
    let server = Running::of(Project::new(&toml)).await;
    shop.click("u1", "i1").await;
    shop.add(&[("type", "clik")]).await;
    until_logged(&server.project, 1).await;
    until("one is refused", async || entries(&server, "refused").await == 1.0).await;
    until("everything acknowledged", async || shop.pending().await == 0).await;
    // Long enough for a look at the lag and at what others left.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(metric(&server, "tastemaker_stream_up").await, 1.0);
    server.stop().await;
}
