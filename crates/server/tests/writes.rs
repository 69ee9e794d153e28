//! Events, items and users over real HTTP: what goes in, what is refused, what is there afterwards and after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Running, SHOP, event};
use hyper::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn events_are_answered_one_by_one() {
    let server = Running::start(SHOP).await;
    let body = json!({"events": [
        event("a", "ann", "1"),
        event("a", "ann", "1"),
        {"event_id": "b", "type": "clik", "user_id": "ann", "item_id": "1"},
        {"event_id": "c", "type": "click", "user_id": "", "item_id": "1"},
        {"event_id": "d", "type": "click", "user_id": "ann", "item_id": "1", "value": "much"},
        {"event_id": "e", "type": "purchase", "user_id": "ann", "item_id": "2", "value": 9.5,
         "timestamp": "2026-01-02T03:04:05Z", "session_id": "s", "request_id": "r", "properties": {"page": "home"}},
        {"type": "click", "user_id": "bob", "item_id": "3"},
    ]});
    let answer = server.client.post("/v1/events", &body).await.expect(200).json();
    let statuses: Vec<&str> =
        answer["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "duplicate", "refused", "refused", "refused", "accepted", "accepted"]);
    assert_eq!((&answer["accepted"], &answer["duplicates"], &answer["refused"]), (&json!(3), &json!(1), &json!(3)));
    assert!(answer["results"][2]["error"]["message"].as_str().unwrap().contains("did you mean 'click'?"));
    assert_eq!(answer["results"][3]["error"]["field"], "events[3].user_id");
    assert_eq!(answer["results"][4]["error"]["field"], "events[4].value");
    assert_eq!(answer["results"][6]["id"].as_str().unwrap().len(), 36, "an id is made up and told");

    let again = server.client.post("/v1/events", &json!({"events": [event("a", "ann", "1")]})).await.expect(200).json();
    assert_eq!(again["results"][0]["status"], "duplicate");
    server.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let server = Running::start(SHOP).await;
    let client = &server.client;
    client.post("/v1/items", &json!({"id": "1", "attributes": {"price": 2.5, "category": "books"}})).await.expect(200);
    client.post("/v1/users", &json!({"users": [{"id": "ann", "attributes": {"country": "nz"}}]})).await.expect(200);
    client.post("/v1/events", &json!({"events": [event("a", "bob", "2")]})).await.expect(200);

    let server = Running::of(server.stop().await).await;
    let item = server.client.get("/v1/items/1").await.expect(200).json();
    assert_eq!(item, json!({"id": "1", "attributes": {"price": 2.5, "category": "books"}}));
    assert_eq!(server.client.get("/v1/users/ann").await.expect(200).json()["attributes"]["country"], "nz");
    server.client.get("/v1/users/bob").await.expect(200);
    server.client.get("/v1/items/2").await.expect(200);
    let again = server.client.post("/v1/events", &json!({"events": [event("a", "bob", "2")]})).await.expect(200).json();
    assert_eq!(again["duplicates"], 1);
    server.stop().await;
}

#[tokio::test]
async fn entities_are_replaced_changed_and_deleted() {
    let server = Running::start(SHOP).await;
    let client = &server.client;
    let put = json!({"attributes": {"price": 1, "category": "books"}});
    let item = client.json(Method::PUT, "/v1/items/1", &put).await.expect(200).json();
    assert_eq!(item["attributes"], json!({"price": 1.0, "category": "books"}));
    let patch = json!({"attributes": {"price": 2}});
    let item = client.json(Method::PATCH, "/v1/items/1", &patch).await.expect(200).json();
    assert_eq!(item["attributes"], json!({"price": 2.0, "category": "books"}), "PATCH keeps the others");
    let item = client.json(Method::PUT, "/v1/items/1", &patch).await.expect(200).json();
    assert_eq!(item["attributes"], json!({"price": 2.0}), "PUT removes the others");
    client.delete("/v1/items/1").await.expect(204);
    client.get("/v1/items/1").await.expect(404);
    client.delete("/v1/items/1").await.expect(404);
    client.json(Method::PATCH, "/v1/items/1", &patch).await.expect(404);

    let user = json!({"attributes": {"country": "nz"}});
    client.json(Method::PUT, "/v1/users/ann", &user).await.expect(200);
    client.json(Method::PATCH, "/v1/users/ann", &json!({"attributes": {"country": "fr"}})).await.expect(200);
    assert_eq!(client.get("/v1/users/ann").await.expect(200).json()["attributes"]["country"], "fr");
    client.delete("/v1/users/ann").await.expect(204);
    client.get("/v1/users/ann").await.expect(404);
    server.stop().await;
}

#[tokio::test]
async fn any_id_works_in_a_path() {
    let server = Running::start(SHOP).await;
    for (id, path) in [
        ("käse", "k%C3%A4se"),
        ("商品 42", "%E5%95%86%E5%93%81%2042"),
        ("a/b?c=d", "a%2Fb%3Fc%3Dd"),
        ("🎬", "%F0%9F%8E%AC"),
        ("50%", "50%25"),
        ("..", "%2E%2E"),
    ] {
        let body = json!({"attributes": {"price": 1}});
        let item = server.client.json(Method::PUT, &format!("/v1/items/{path}"), &body).await.expect(200).json();
        assert_eq!(item["id"], id);
        server.client.get(&format!("/v1/items/{path}/similar")).await.expect(200);
        server.client.delete(&format!("/v1/items/{path}")).await.expect(204);
    }
    server.stop().await;
}

#[tokio::test]
async fn lists_page_through_everything_once() {
    let server = Running::start(SHOP).await;
    for (path, list) in [("/v1/items", "items"), ("/v1/users", "users")] {
        let entities: Vec<Value> = (0..25).map(|n| json!({"id": format!("e{n}")})).collect();
        server.client.post(path, &json!({ list: entities })).await.expect(200);
        server.client.delete(&format!("{path}/e7")).await.expect(204);
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.client.get(&format!("{path}?limit=10{cursor}")).await.expect(200).json();
            seen.extend(page[list].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        seen.sort();
        let mut expected: Vec<String> = (0..25).filter(|n| *n != 7).map(|n| format!("e{n}")).collect();
        expected.sort();
        assert_eq!(seen, expected, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_batch_is_taken_whole() {
    let server = Running::start(SHOP).await;
    let events: Vec<Value> = (0..10_000).map(|n| event(&format!("e{n}"), &format!("u{}", n % 97), "i")).collect();
    let answer = server.client.post("/v1/events", &json!({ "events": events })).await.expect(200).json();
    assert_eq!(answer["accepted"], 10_000);
    let ready = server.client.get("/health/ready").await.expect(200).json();
    assert_eq!((&ready["users"], &ready["log"]["applied"]), (&json!(97), &json!(10_000)));
    server.stop().await;
}
