//! A running server whose items are those of a real PostgreSQL, set up with the very SQL of docs/items-source.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{Running, event};
use serde_json::{Value, json};
use tastemaker_testkit::{PostgresServer, Project};

const PAGE: &str = include_str!("../../../docs/items-source.md");

/// A database as the page has it.
fn database() -> PostgresServer {
    let server = PostgresServer::start();
    let blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    assert_eq!(blocks.clone().count(), 3);
    blocks.for_each(|sql| drop(server.sql(sql)));
    server
}

/// A project as the page has it, which reads as the role of the page.
fn project(server: &PostgresServer, more: &str) -> Project {
    let toml = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = "postgres://tastemaker@db.example.com/shop";
    assert!(toml.contains(example));
    Project::new(&format!("{}{more}\n", toml.replace(example, &server.url("tastemaker"))))
}

const QUICK: &str = "poll_interval = \"200ms\"\ntimeout = \"500ms\"\nnegative_ttl = \"100ms\"";
/// Changes come by notice or on request alone, and not in time by the feed.
const NO_POLL: &str = "poll_interval = \"1h\"";

/// Asks again until the item is as wanted: its attributes, or null for none.
async fn becomes(running: &Running, id: &str, wanted: &Value, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let shown = listed(running, id);
        if shown == *wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{id} is {shown}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An item as the catalog has it, without anybody's reading it in.
fn listed(running: &Running, id: &str) -> Value {
    serde_json::to_value(running.engine.item_here(id)).unwrap()
}

/// How many records the log has.
fn records(running: &Running) -> u64 {
    running.engine.state().position().map_or(0, |position| position.0 + 1)
}

/// Waits until so many items exist.
async fn counts(running: &Running, items: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let count = || running.engine.catalog().snapshot().alive_rows().count();
    while count() != items {
        assert!(Instant::now() < deadline, "{} items, not {items}", count());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A figure of `/metrics`; 0 if nothing was measured yet.
async fn metric(running: &Running, name: &str) -> f64 {
    let text = running.client.get("/metrics").await.expect(200).text();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

const LOOKS: &str = "tastemaker_items_source_query_duration_seconds_count{query=\"changes\"}";

fn queries(server: &PostgresServer) -> usize {
    server.log().lines().filter(|line| line.contains("execute") && line.contains("= ANY ($1")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_follow_their_table_and_nothing_is_written_twice() {
    let server = database();
    server.sql("INSERT INTO items (id, name, category, price) SELECT 'i' || n, 'Item ' || n, 'books', n FROM generate_series(1, 1234) n");
    let running = Running::of(project(&server, QUICK)).await;
    let patience = Duration::from_secs(10);
    becomes(
        &running,
        "i1234",
        &json!({"title": "Item 1234", "category": "books", "price": 1234.0, "available": true}),
        patience,
    )
    .await;

    server.sql("UPDATE items SET price = 5, available = false WHERE id = 'i7'; UPDATE items SET deleted_at = now() WHERE id = 'i8'");
    becomes(
        &running,
        "i7",
        &json!({"title": "Item 7", "category": "books", "price": 5.0, "available": false}),
        patience,
    )
    .await;
    becomes(&running, "i8", &Value::Null, patience).await;
    running.client.get("/v1/items/i8").await.expect(404);
    // A row without a mark, gone: by its notice alone.
    server.sql("DELETE FROM items WHERE id = 'i9'");
    becomes(&running, "i9", &Value::Null, patience).await;

    counts(&running, 1_232).await;
    // Many looks at the same rows, which the overlap makes sure of, add nothing to the log.
    let before = records(&running);
    let looks = metric(&running, LOOKS).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(metric(&running, LOOKS).await > looks + 2.0);
    assert_eq!(records(&running), before);
    assert!(metric(&running, "tastemaker_items_source_lag_seconds").await < 5.0);

    // A restart goes on where it was, and does not read what is old. Without its file, it reads everything.
    let project = running.stop().await;
    server.sql(
        "ALTER TABLE items DISABLE TRIGGER USER; UPDATE items SET updated_at = now() - interval '1 day'; UPDATE items SET price = 99 WHERE id = 'i10';
        ALTER TABLE items ENABLE TRIGGER USER",
    );
    let item = |n: u32, price: u32, available: bool| json!({"title": format!("Item {n}"), "category": "books", "price": f64::from(price), "available": available});
    server.sql("UPDATE items SET price = 6 WHERE id = 'i7'");
    let running = Running::of(project).await;
    becomes(&running, "i7", &item(7, 6, false), patience).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(listed(&running, "i10"), item(10, 10, true));
    assert_eq!(metric(&running, "tastemaker_items_source_rows_total{result=\"upserted\"}").await, 1.0);
    let project = running.stop().await;
    std::fs::remove_file(project.path().join("data/items-source.json")).unwrap();
    let running = Running::of(project).await;
    becomes(&running, "i10", &item(10, 99, true), patience).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalog_lacks_is_read_on_request_once() {
    let server = database();
    // As a view without the trigger's notices would be: nothing but requests can bring these in.
    let running = Running::of(project(&server, NO_POLL)).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while metric(&running, LOOKS).await < 2.0 {
        assert!(Instant::now() < deadline, "it does not look at the beginning and when it listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.sql("ALTER TABLE items DISABLE TRIGGER notify_items; INSERT INTO items (id, name) SELECT 'i' || n, 'Item ' || n FROM generate_series(0, 99) n");

    assert_eq!(listed(&running, "i0"), Value::Null);
    let before = records(&running);
    let asking: Vec<_> = (0..100)
        .map(|_| {
            let client = running.client.clone();
            tokio::spawn(async move { client.get("/v1/items/i0").await })
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap().expect(200).json()["attributes"]["title"], "Item 0");
    }
    assert_eq!(queries(&server), 1, "a hundred who ask at once are one query");
    assert_eq!(records(&running), before + 1, "and one record");

    // Ranking reads what it does not know, and leaves out what is nowhere.
    let rank = json!({"user_id": "u", "items": ["i1", "i2", "nowhere"]});
    let ranked = running.client.post("/v1/rank", &rank).await.expect(200).json();
    assert_eq!(ranked["items"].as_array().unwrap().len(), 2, "{ranked}");
    assert_eq!(queries(&server), 2);
    running.client.get("/v1/items/nowhere").await.expect(404);
    assert_eq!(queries(&server), 2, "that it is nowhere is remembered");
    running.client.get("/v1/items/i3/similar").await;
    assert_eq!(listed(&running, "i3")["title"], "Item 3");

    // Events do not wait for it.
    let events: Vec<Value> = (10..60).map(|n| event(&format!("e{n}"), "u", &format!("i{n}"))).collect();
    running.client.post("/v1/events", &json!({ "events": events })).await.expect(200);
    for n in 10..60 {
        becomes(
            &running,
            &format!("i{n}"),
            &json!({"title": format!("Item {n}"), "available": true}),
            Duration::from_secs(5),
        )
        .await;
    }
    assert!(queries(&server) <= 8, "{}", queries(&server));
    assert!(
        metric(&running, "tastemaker_cache_lookups_total{cache=\"item_source\",result=\"negative_hit\"}").await >= 1.0
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_seen_within_a_second_and_a_stream_of_them_is_not_lost() {
    let server = database();
    let running = Running::of(project(&server, NO_POLL)).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'") == "0" {
        assert!(Instant::now() < deadline, "it does not listen");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for title in ["first", "second"] {
        server.sql(&format!(
            "INSERT INTO items (id, name) VALUES ('a', '{title}') ON CONFLICT (id) DO UPDATE SET name = '{title}'"
        ));
        becomes(&running, "a", &json!({"title": title, "available": true}), Duration::from_secs(1)).await;
    }
    // Each in a transaction of its own.
    server.sql("DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO items (id, name) VALUES (n::text, n::text); COMMIT; END LOOP; END $$");
    counts(&running, 3_001).await;
    assert_eq!(listed(&running, "1500"), json!({"title": "1500", "available": true}));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recommendations_go_on_without_the_database_and_items_follow_again_when_it_is_back() {
    let mut server = database();
    server.sql("INSERT INTO items (id, name) SELECT 'i' || n, 'Item ' || n FROM generate_series(0, 20) n");
    let running = Running::of(project(&server, QUICK)).await;
    becomes(&running, "i20", &json!({"title": "Item 20", "available": true}), Duration::from_secs(10)).await;
    running.client.post("/v1/events", &json!({"events": [event("e", "u", "i1")]})).await.expect(200);

    server.kill();
    for n in 0..20 {
        let began = Instant::now();
        let answer = running.client.get("/v1/users/someone/recommendations").await.expect(200);
        assert!(!answer.json()["items"].as_array().unwrap().is_empty());
        running.client.get("/v1/items/i5").await.expect(200);
        running.client.post("/v1/rank", &json!({"user_id": "u", "items": ["i5", format!("new{n}")]})).await.expect(200);
        running
            .client
            .post("/v1/events", &json!({"events": [event(&format!("e{n}"), "u", &format!("new{n}"))]}))
            .await
            .expect(200);
        assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    }
    let answer = running.client.get("/v1/items/unheard-of").await.expect(503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("database cannot be asked now"), "{}", answer.text());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(metric(&running, "tastemaker_items_source_errors_total{query=\"changes\"}").await >= 1.0);
    assert!(metric(&running, "tastemaker_items_source_lag_seconds").await > 0.5);

    server.restart();
    server
        .sql("UPDATE items SET name = 'changed' WHERE id = 'i5'; INSERT INTO items (id, name) VALUES ('new3', 'New')");
    becomes(&running, "i5", &json!({"title": "changed", "available": true}), Duration::from_secs(15)).await;
    becomes(&running, "new3", &json!({"title": "New", "available": true}), Duration::from_secs(15)).await;
    server.sql("UPDATE items SET name = 'again' WHERE id = 'i5'");
    becomes(&running, "i5", &json!({"title": "again", "available": true}), Duration::from_secs(15)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_holds_no_request_longer_than_the_timeout() {
    let server = database();
    server.sql("INSERT INTO items (id, name) VALUES ('i', 'Item')");
    let running = Running::of(project(&server, "poll_interval = \"200ms\"\ntimeout = \"1500ms\"")).await;
    becomes(&running, "i", &json!({"title": "Item", "available": true}), Duration::from_secs(10)).await;
    server.freeze();
    let began = Instant::now();
    running.client.get("/v1/items/unheard-of").await.expect(503);
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    let began = Instant::now();
    running.client.get("/v1/users/u/recommendations").await.expect(200);
    running.client.post("/v1/events", &json!({"events": [event("e", "u", "unheard-of")]})).await.expect(200);
    assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    server.thaw();
    server.sql("UPDATE items SET name = 'thawed' WHERE id = 'i'");
    becomes(&running, "i", &json!({"title": "thawed", "available": true}), Duration::from_secs(15)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_item_is_counted_and_holds_up_no_other() {
    let server = database();
    server.sql("INSERT INTO items (id, name, price) VALUES ('nan', 'N', 'NaN'), ('good', 'G', 1)");
    let running = Running::of(project(&server, QUICK)).await;
    becomes(&running, "good", &json!({"title": "G", "price": 1.0, "available": true}), Duration::from_secs(10)).await;
    assert!(metric(&running, "tastemaker_items_source_rows_total{result=\"refused\"}").await >= 1.0);
    assert_eq!(listed(&running, "nan"), Value::Null);
    running.stop().await;
}
