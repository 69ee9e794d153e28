//! Recommendations, health, metrics and documentation over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{Running, SHOP, event, send_clicks, send_items};
use serde_json::{Value, json};
use tastemaker_log::LogReader;
use tastemaker_types::{FeatureValue, Position, Record, Timestamp, Value as Attribute};

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_stranger_gets_popular_items_and_a_filter_holds() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 200).await;
    send_clicks(&server.client, 100, 200, 4_000).await;
    let body = json!({"user_id": "stranger", "limit": 10});
    let answer = server.client.post("/v1/recommendations", &body).await.expect(200);
    let json = answer.json();
    assert_eq!(ids(&json).len(), 10, "{json}");
    assert_eq!(json["generation"], Value::Null);
    assert_eq!(json["request_id"], answer.header("x-request-id"));
    for item in json["items"].as_array().unwrap() {
        assert!(item["score"].is_number() && !item["sources"].as_array().unwrap().is_empty());
        assert!(item["attributes"]["title"].as_str().unwrap().starts_with("Item "));
    }

    let body = json!({
        "user_id": "stranger", "limit": 50,
        "filter": "category = :category AND price < 100 AND available", "params": {"category": "books"}});
    let json = server.client.post("/v1/recommendations", &body).await.expect(200).json();
    assert!(!ids(&json).is_empty());
    for item in json["items"].as_array().unwrap() {
        let attributes = &item["attributes"];
        assert!(attributes["category"] == "books" && attributes["available"] == true, "{item}");
        assert!(attributes["price"].as_f64().unwrap() < 100.0, "{item}");
    }

    let first = ids(&json)[0].to_owned();
    let body = json!({"user_id": "stranger", "filter": "category = 'books'", "exclude": [first], "limit": 50});
    let json = server.client.post("/v1/recommendations", &body).await.expect(200).json();
    assert!(!ids(&json).contains(&first.as_str()), "an excluded item came");
    server.stop().await;
}

#[tokio::test]
async fn both_forms_of_asking_say_the_same() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 100).await;
    send_clicks(&server.client, 50, 100, 1_000).await;
    let body = json!({"user_id": "u1", "limit": 7, "filter": "price < 90", "explain": true});
    let posted = server.client.post("/v1/recommendations", &body).await.expect(200).json();
    let got = server.client.get("/v1/users/u1/recommendations?limit=7&filter=price%20%3C%2090&explain=true").await;
    let got = got.expect(200).json();
    assert_eq!(ids(&posted), ids(&got));
    assert!(got["explain"].is_object(), "{got}");
    assert!(server.client.get("/v1/users/u1/recommendations").await.expect(200).json().get("explain").is_none());
    server.stop().await;
}

#[tokio::test]
async fn what_a_user_liked_does_not_come_again_unless_asked_for() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 20).await;
    send_clicks(&server.client, 20, 20, 500).await;
    let ask = async |body: Value| server.client.post("/v1/recommendations", &body).await.expect(200).json();
    let before = ask(json!({"user_id": "new", "limit": 20})).await;
    let liked = ids(&before)[0].to_owned();
    server.client.post("/v1/events", &json!({"events": [event("x", "new", &liked)]})).await.expect(200);
    let after = ask(json!({"user_id": "new", "limit": 20})).await;
    assert!(!ids(&after).contains(&liked.as_str()), "the very next answer still has it");
    let again = ask(json!({"user_id": "new", "limit": 20, "include_seen": true})).await;
    assert!(ids(&again).contains(&liked.as_str()));
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_item_is_served_no_more() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 20).await;
    send_clicks(&server.client, 20, 20, 500).await;
    let first = server.client.get("/v1/users/new/recommendations").await.expect(200).json();
    let first = ids(&first)[0].to_owned();
    server.client.delete(&format!("/v1/items/{first}")).await.expect(204);
    let after = server.client.get("/v1/users/new/recommendations?limit=20").await.expect(200).json();
    assert!(!ids(&after).contains(&first.as_str()));
    server.stop().await;
}

#[tokio::test]
async fn served_answers_are_in_the_log() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 20).await;
    send_clicks(&server.client, 20, 20, 200).await;
    let answer = server.client.get("/v1/users/u1/recommendations?limit=5").await.expect(200).json();
    let project = server.stop().await;
    let reader = LogReader::open(project.path().join("data/log")).unwrap();
    let served: Vec<_> = reader
        .read_from(Position(0))
        .filter_map(|entry| match entry.unwrap().1 {
            Record::Served(served) => Some(served),
            _ => None,
        })
        .collect();
    assert_eq!(served.len(), 1);
    assert_eq!(answer["request_id"], served[0].request_id);
    assert_eq!(served[0].user_id, "u1");
    let items: Vec<&str> = served[0].items.iter().map(|item| item.item_id.as_str()).collect();
    assert_eq!(ids(&answer), items);
}

/// A project whose recommendations read features and the request's context.
const FEATURES: &str = r#"
boost = "CASE WHEN context.device = 'phone' AND category = 'games' THEN 50 ELSE 1 END"
features = ["user.recent_click_count"]
log_features = 1.0
[recommend.context]
device = "tag"
[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"
[[features]]
entity = "item"
name = "clicks"
aggregate = "count"
events = ["click"]
"#;

#[tokio::test]
async fn features_and_context_make_answers_and_are_in_the_log() {
    let server = Running::start(&format!("{SHOP}{FEATURES}")).await;
    send_items(&server.client, 40).await;
    let clicks = json!({"events": [event("e1", "ann", "i3"), event("e2", "ann", "i4")]});
    server.client.post("/v1/events", &clicks).await.expect(200);
    let body = json!({"user_id": "ann", "limit": 5, "context": {"device": "phone"}, "explain": true,
        "filter": "coalesce(item.clicks, 0) = 0 AND user.recent_click_count = 2"});
    let answer = server.client.post("/v1/recommendations", &body).await.expect(200).json();
    assert_eq!(answer["items"].as_array().unwrap().len(), 5);
    for (item, told) in answer["items"].as_array().unwrap().iter().zip(answer["explain"]["items"].as_array().unwrap()) {
        assert_eq!(item["attributes"]["category"], "games");
        assert_eq!(told["features"], json!({"item.clicks": null, "user.recent_click_count": 2.0}));
    }
    let asked = "/v1/users/ann/recommendations?limit=5&context=%7B%22device%22%3A%22phone%22%7D";
    let got = server.client.get(asked).await.expect(200).json();
    assert!(got["items"].as_array().unwrap().iter().all(|item| item["attributes"]["category"] == "games"), "{got}");
    let ranked = json!({"user_id": "ann", "items": ["i5", "i6", "i7"], "context": {"device": "phone"}});
    let ranked = server.client.post("/v1/rank", &ranked).await.expect(200).json();
    assert_eq!(ranked["items"][0]["item_id"], "i6", "{ranked}");

    for (context, part) in [
        (json!({"devise": "phone"}), "did you mean 'device'?"),
        (json!({"device": 5}), "attribute 'device' is declared as tag"),
    ] {
        let body = json!({"user_id": "ann", "context": context});
        let refused = server.client.post("/v1/recommendations", &body).await.expect(400).json();
        assert_eq!(refused["errors"][0]["field"], "context");
        assert!(refused["detail"].as_str().unwrap().contains(part), "{refused}");
    }
    server.client.get("/v1/items/i3/similar?context=phone").await.expect(400);

    let project = server.stop().await;
    let reader = LogReader::open(project.path().join("data/log")).unwrap();
    let entries: Vec<_> = reader.read_from(Position(0)).map(Result::unwrap).collect();
    let served = entries.iter().filter_map(|(_, record)| match record {
        Record::Served(served) => Some(served),
        _ => None,
    });
    let served: Vec<_> = served.collect();
    assert_eq!(served.len(), 2);
    let logged = served[0].features.as_ref().unwrap();
    let last_click = entries.iter().rfind(|(_, record)| matches!(record, Record::Event(_))).unwrap();
    assert_eq!(logged.user_version, Some(last_click.0));
    assert_eq!(logged.context["device"], Attribute::Text("phone".to_owned()));
    let (name, values) = logged.values.iter().find(|(name, _)| name == "user.recent_click_count").unwrap();
    assert_eq!((name.as_str(), values.len()), ("user.recent_click_count", 5));
    assert!(values.iter().all(|value| *value == Some(FeatureValue::Number(2.0))));
    let now = Timestamp::now();
    assert!((last_click.1.timestamp()..=now).contains(&served[0].timestamp));
}

#[tokio::test]
async fn metrics_count_every_status_by_route_and_name_no_one() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 20).await;
    send_clicks(&server.client, 20, 20, 200).await;
    server.client.get("/v1/users/secret-user/recommendations").await.expect(200);
    server.client.get("/v1/items/secret-item").await.expect(404);
    server.client.get("/secret-path").await.expect(404);
    let text = server.client.get("/metrics").await.expect(200).text();
    assert!(!text.contains("secret"), "an id is a label");
    for line in [
        r#"tastemaker_http_requests_total{route="/v1/users/{id}/recommendations",method="GET",status="200"} 1"#,
        r#"tastemaker_http_requests_total{route="/v1/items/{id}",method="GET",status="404"} 1"#,
        r#"tastemaker_http_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        r#"tastemaker_ingested_records_total{record="event",result="accepted"} 200"#,
        r#"tastemaker_ingested_records_total{record="item",result="accepted"} 20"#,
        r#"tastemaker_answers_total{endpoint="recommendations"} 1"#,
        "tastemaker_log_lag_records 0",
        "tastemaker_generation_version 0",
        "tastemaker_items 20",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    assert!(text.contains(r#"tastemaker_stage_duration_seconds_bucket{stage="#), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn the_documentation_has_every_route() {
    let server = Running::start(SHOP).await;
    let api = server.client.get("/openapi.json").await.expect(200).json();
    let (mut routes, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let statuses: &[&str] = if operation["requestBody"].is_null() { &["500"] } else { &["413", "415", "507"] };
            assert!(statuses.iter().all(|status| operation["responses"][*status].is_object()), "{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {path}: another operation has the id '{id}'");
            // Each parameter of the path is declared, and no other.
            let named = |parameter: &&Value| parameter["in"] == "path";
            let declared: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(named)
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let in_path: BTreeSet<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            assert_eq!(declared, in_path, "{method} {path}");
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(!response["description"].as_str().unwrap().is_empty(), "{method} {path}");
            }
            routes.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let expected = [
        "DELETE /v1/items/{id}",
        "DELETE /v1/users/{id}",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /v1/features",
        "GET /v1/items",
        "GET /v1/items/{id}",
        "GET /v1/items/{id}/similar",
        "GET /v1/models",
        "GET /v1/models/{name}",
        "GET /v1/users",
        "GET /v1/users/{id}",
        "GET /v1/users/{id}/recommendations",
        "PATCH /v1/items/{id}",
        "PATCH /v1/users/{id}",
        "POST /get-online-features",
        "POST /push",
        "POST /v1/events",
        "POST /v1/features/online",
        "POST /v1/items",
        "POST /v1/models/{name}/promote",
        "POST /v1/models/{name}/rollback",
        "POST /v1/rank",
        "POST /v1/recommendations",
        "POST /v1/users",
        "POST /write-to-online-store",
        "PUT /v1/items/{id}",
        "PUT /v1/users/{id}",
    ];
    assert_eq!(routes.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let page = server.client.get("/docs/").await.expect(200);
    // What it looks like is for a browser to tell, in a test of the command line's.
    assert_eq!((page.header("content-type"), page.header("content-encoding")), ("text/html", "gzip"));
    // Whatever the document refers to is in it.
    let mut unseen = vec![&api];
    let mut references = 0;
    while let Some(value) = unseen.pop() {
        if let Some(reference) = value.get("$ref") {
            let place = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(api.pointer(place).is_some(), "nothing is at {place}");
            references += 1;
        }
        unseen.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        unseen.extend(value.as_array().into_iter().flatten());
    }
    assert!(references > 50, "{references} references");
    server.stop().await;
}
