//! What is wrong is answered with problem details: one shape, the right status, and what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Running, SHOP, event};
use hyper::Method;
use serde_json::{Value, json};
use tastemaker_config::ApiKey;
use tastemaker_testkit::{Answer, Client};

/// Checks the shape of a problem and that it mentions `part`.
fn assert_problem(answer: &Answer, status: u16, slug: &str, part: &str) {
    let text = answer.text();
    assert_eq!(answer.status.as_u16(), status, "{text}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{text}");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:tastemaker:problem:{slug}"), "{text}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], answer.header("x-request-id"), "{text}");
    assert!(problem["instance"].as_str().unwrap().starts_with('/'), "{text}");
    assert!(!problem["title"].as_str().unwrap().is_empty());
    assert!(text.contains(part), "'{part}' is not in {text}");
}

#[tokio::test]
async fn wrong_bodies_are_refused_with_the_place_and_the_remedy() {
    let server = Running::start(SHOP).await;
    let long_id = "x".repeat(513);
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    let recommend = "/v1/recommendations";
    let table: Vec<(&str, String, u16, &str, &str)> = vec![
        ("/v1/events", String::new(), 400, "invalid-request", "empty"),
        ("/v1/events", "{".into(), 400, "invalid-request", "line 1"),
        ("/v1/events", "[]".into(), 400, "invalid-request", "must be an object"),
        ("/v1/events", "{}".into(), 400, "invalid-request", "no 'events'"),
        ("/v1/events", r#"{"events":{}}"#.into(), 400, "invalid-request", "must be a list"),
        ("/v1/events", r#"{"events":[],"x":1}"#.into(), 400, "invalid-request", "unknown field 'x'"),
        ("/v1/events", r#"{"events":[7]}"#.into(), 422, "records-refused", "events[0]"),
        ("/v1/events", r#"{"events":[{"type":"click","user_id":"u"}]}"#.into(), 422, "records-refused", "item_id"),
        (
            "/v1/events",
            r#"{"events":[{"typ":"click","user_id":"u","item_id":"i"}]}"#.into(),
            422,
            "records-refused",
            "did you mean 'type'",
        ),
        (
            "/v1/events",
            r#"{"events":[{"type":"buy","user_id":"u","item_id":"i"}]}"#.into(),
            422,
            "records-refused",
            "known:",
        ),
        (
            "/v1/events",
            r#"{"events":[{"type":"click","user_id":"u","item_id":"i","timestamp":"soon"}]}"#.into(),
            422,
            "records-refused",
            "RFC 3339",
        ),
        (
            "/v1/events",
            r#"{"events":[{"type":"click","user_id":"u","item_id":"i","value":1e999}]}"#.into(),
            400,
            "invalid-request",
            "out of range",
        ),
        ("/v1/events", json!({"events": [event("e", &long_id, "i")]}).to_string(), 422, "records-refused", "512"),
        (
            "/v1/events",
            json!({"events": [event("e", "a\u{0}", "i")]}).to_string(),
            422,
            "records-refused",
            "control character",
        ),
        ("/v1/items", r#"{"id":"1","attributes":{"prise":1}}"#.into(), 422, "records-refused", "did you mean 'price'"),
        ("/v1/items", r#"{"id":"1","attributes":{"price":"1"}}"#.into(), 422, "records-refused", "declared as number"),
        ("/v1/items", r#"{"attributes":{}}"#.into(), 422, "records-refused", "id"),
        ("/v1/users", r#"{"id":"","attributes":{}}"#.into(), 422, "records-refused", "empty"),
        (recommend, r#"{"usr_id":"u"}"#.into(), 400, "invalid-request", "did you mean 'user_id'"),
        (recommend, r#"{"user_id":""}"#.into(), 400, "invalid-request", "empty"),
        (recommend, r#"{"user_id":"u","limit":0}"#.into(), 400, "invalid-request", "limit"),
        (recommend, r#"{"user_id":"u","limit":1001}"#.into(), 400, "invalid-request", "1000"),
        (
            recommend,
            r#"{"user_id":"u","limit":-1}"#.into(),
            400,
            "invalid-request",
            "limit: -1 is given; give a whole number",
        ),
        (recommend, r#"["u",3]"#.into(), 400, "invalid-request", "a list is given; give an object"),
        ("/v1/events", r#"{"events":[["e","click","u","i"]]}"#.into(), 422, "records-refused", "give an object"),
        (
            recommend,
            r#"{"user_id":"u","filter":"price < :m","params":{"m":null}}"#.into(),
            400,
            "invalid-request",
            "params.m: give a text, a number, true, false or a list of texts",
        ),
        (
            recommend,
            r#"{"user_id":"u","context":{"device":"x"}}"#.into(),
            400,
            "invalid-request",
            "[recommend.context]",
        ),
        (recommend, r#"{"user_id":"u","filter":"prise < 3"}"#.into(), 400, "invalid-filter", "did you mean"),
        (recommend, r#"{"user_id":"u","filter":"price <"}"#.into(), 400, "invalid-filter", "filter"),
        (recommend, r#"{"user_id":"u","filter":"price"}"#.into(), 400, "invalid-filter", "filter"),
        (recommend, r#"{"user_id":"u","filter":"price < :most"}"#.into(), 400, "invalid-filter", "most"),
        (
            recommend,
            json!({"user_id": "u", "filter": format!("price < {}", "1".repeat(20_000))}).to_string(),
            400,
            "invalid-request",
            "filter",
        ),
        (recommend, json!({"user_id": "u", "exclude": many}).to_string(), 400, "invalid-request", "exclude"),
        ("/v1/rank", r#"{"user_id":"u"}"#.into(), 400, "invalid-request", "items"),
        ("/v1/rank", json!({"user_id": "u", "items": many}).to_string(), 400, "invalid-request", "10000"),
        ("/v1/models/embeddings/promote", r#"{"version":"one"}"#.into(), 400, "invalid-request", "version"),
        ("/v1/models/embeddings/promote", r#"{"version":99}"#.into(), 404, "not-found", "99"),
        ("/v1/models/embedings/promote", r#"{"version":1}"#.into(), 404, "not-found", "did you mean 'embeddings'"),
    ];
    for (path, body, status, slug, part) in table {
        let shown: String = body.chars().take(80).collect();
        let sent = Bytes::from(body.clone());
        let answer = server.client.send(Method::POST, path, Some(("application/json", sent))).await;
        println!("{path} {shown} -> {}", answer.status);
        assert_problem(&answer, status, slug, part);
    }
    let health = server.client.get("/health/ready").await.expect(200).json();
    assert_eq!(health["log"]["appended"], 0, "nothing refused was recorded");
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_without_a_body_are_refused_too() {
    let server = Running::start(SHOP).await;
    for (method, path, status, slug, part) in [
        (Method::GET, "/v2/nothing", 404, "not-found", "/docs"),
        (Method::GET, "/v1/items/none", 404, "not-found", "'none'"),
        (Method::GET, "/v1/users/none", 404, "not-found", "'none'"),
        (Method::GET, "/v1/items/none/similar", 404, "not-found", "none"),
        (Method::GET, "/v1/models/none", 404, "not-found", "none"),
        (Method::DELETE, "/v1/events", 405, "method-not-allowed", "DELETE"),
        (Method::GET, "/v1/items?limit=0", 400, "invalid-request", "limit"),
        (Method::GET, "/v1/items?limit=many", 400, "invalid-request", "limit"),
        (Method::GET, "/v1/items?limt=5", 400, "invalid-request", "did you mean 'limit'"),
        (Method::GET, "/v1/users/u/recommendations?explain=maybe", 400, "invalid-request", "explain"),
        (Method::GET, "/v1/users/u/recommendations?filter=prise%3C1", 400, "invalid-filter", "did you mean"),
        (Method::GET, "/v1/items/%FF", 400, "invalid-request", "path"),
        (Method::GET, "/v1/items/a%00b", 400, "invalid-request", "control character"),
        (Method::POST, "/v1/models/embeddings/rollback", 409, "conflict", "no earlier generation"),
        (Method::POST, "/v1/events", 415, "unsupported-media-type", "application/json"),
    ] {
        let answer = server.client.send(method, path, None).await;
        println!("{path} -> {}", answer.status);
        assert_problem(&answer, status, slug, part);
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_and_batches_beyond_the_limits_are_refused_and_nothing_of_them_is_recorded() {
    let server = Running::start(&format!("{SHOP}\n[server]\nbody_limit = \"64KiB\"\nbatch_limit = 10\n")).await;
    let client = &server.client;
    let large = json!({"events": [event("e", "u", &"x".repeat(70_000))]});
    assert_problem(&client.post("/v1/events", &large).await, 413, "too-large", "65536 bytes");
    let many: Vec<Value> = (0..11).map(|n| event(&n.to_string(), "u", "i")).collect();
    assert_problem(&client.post("/v1/events", &json!({ "events": many })).await, 413, "too-large", "at most 10");
    let form = Some(("application/x-www-form-urlencoded", Bytes::from_static(b"{\"events\":[]}")));
    assert_problem(
        &client.send(Method::POST, "/v1/events", form).await,
        415,
        "unsupported-media-type",
        "application/json",
    );
    assert_eq!(client.get("/health/ready").await.json()["log"]["appended"], 0);
    server.stop().await;
}

#[tokio::test]
async fn keys_open_what_their_scopes_say() {
    let key = |name: &str, scopes: &str| {
        format!("[[server.api_keys]]\nname = \"{name}\"\nhash = \"{}\"\nscopes = [{scopes}]\n", ApiKey::hash_of(name))
    };
    let keys = [key("reader", "\"read\""), key("writer", "\"write\""), key("boss", "\"admin\"")].concat();
    let server = Running::start(&format!("{SHOP}\n[server]\n{keys}")).await;
    let routes = [
        (Method::GET, "/v1/items", "reader"),
        (Method::GET, "/v1/users/u/recommendations", "reader"),
        (Method::GET, "/v1/models", "reader"),
        (Method::GET, "/metrics", "reader"),
        (Method::POST, "/v1/events", "writer"),
        (Method::DELETE, "/v1/items/i", "writer"),
        (Method::POST, "/v1/models/embeddings/rollback", "boss"),
    ];
    for (method, path, needed) in routes {
        let ask = async |client: Client| client.send(method.clone(), path, None).await;
        let bearer = |key: &str| Client::new(&server.base).with_header("authorization", &format!("Bearer {key}"));
        assert_problem(&ask(Client::new(&server.base)).await, 401, "unauthenticated", "X-Api-Key");
        assert_problem(&ask(bearer("guess")).await, 401, "unauthenticated", "not known");
        for name in ["reader", "writer", "boss"] {
            let answer = ask(bearer(name)).await;
            if name == needed || name == "boss" {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{name} at {path}: {}", answer.text());
            } else {
                assert_problem(&answer, 403, "forbidden", needed_scope(needed));
            }
            let by_header = ask(Client::new(&server.base).with_header("x-api-key", name)).await;
            assert_eq!(by_header.status, answer.status);
        }
    }
    for open in ["/health/live", "/health/ready", "/openapi.json", "/docs/"] {
        Client::new(&server.base).get(open).await.expect(200);
    }
    server.stop().await;
}

fn needed_scope(name: &str) -> &'static str {
    match name {
        "reader" => "'read'",
        "writer" => "'write'",
        _ => "'admin'",
    }
}

#[tokio::test]
async fn the_world_is_not_served_without_keys() {
    let project = tastemaker_testkit::Project::new(SHOP);
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let outcome = tastemaker_server::serve(common::config(&project), listener, || (), std::future::pending()).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("without API keys") && error.contains("api_keys"), "{error}");
}

#[tokio::test]
async fn request_ids_are_kept_or_made() {
    let server = Running::start(SHOP).await;
    let answer = Client::new(&server.base).with_header("x-request-id", "mine-1").get("/v1/items/none").await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.json()["request_id"], "mine-1");
    assert_eq!(server.client.get("/health/live").await.header("x-request-id").len(), 36);
    server.stop().await;
}
