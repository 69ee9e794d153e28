//! Features over real HTTP: read, listed and pushed, in our own form and in the one that Feast's clients speak.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::Running;
use serde_json::{Value, json};
use tastemaker_types::Timestamp;

const PROJECT: &str = r#"
[items.attributes]
category = "tag"
price = "number"

[users.attributes]
country = "tag"

[events]
click = { positive = true }
purchase = { positive = true, weight = 5.0 }

[recommend.context]
device = "tag"

[[features]]
entity = "user"
name = "recent_click_count"
aggregate = "count"
events = ["click"]
window = "30m"
description = "Clicks of the last half hour"
owner = "search team"
tags = ["behaviour"]

[[features]]
entity = "user"
name = "latest"
aggregate = "last_k"
events = ["click"]
k = 2

[[features]]
entity = "user"
name = "spent"
aggregate = "sum"
events = ["purchase"]
group_by = "item.category"
view = "money"

[[features]]
entity = "item"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "fits"
expression = "item.price < 10 AND user.country = 'nz' AND context.device = 'phone'"

[[features]]
entity = "user"
name = "country_is"
expression = "user.country"

[[feature_views]]
name = "worth"
entity = "user"
ttl = "7d"
features = { lifetime_value = "number", segment = "text", vip = "bool", since = "time", labels = "texts", taste = "vector" }

[[feature_views]]
name = "affinity"
entity = "pair"
features = { strength = "number" }

[feature_services]
ranking = ["recent_click_count", "worth:lifetime_value", "item.clicks"]
"#;

const ONLINE: &str = "/v1/features/online";

async fn shop() -> Running {
    let server = Running::start(PROJECT).await;
    let client = &server.client;
    let items = json!({"items": [
        {"id": "tea", "attributes": {"category": "drinks", "price": 4}},
        {"id": "pot", "attributes": {"category": "kitchen", "price": 20}}]});
    client.post("/v1/items", &items).await.expect(200);
    client.post("/v1/users", &json!({"id": "ann", "attributes": {"country": "nz"}})).await.expect(200);
    let events = json!({"events": [
        {"type": "click", "user_id": "ann", "item_id": "tea", "timestamp": minutes_ago(5)},
        {"type": "click", "user_id": "ann", "item_id": "pot", "timestamp": minutes_ago(3)},
        {"type": "click", "user_id": "bob", "item_id": "tea", "timestamp": minutes_ago(60)},
        {"type": "purchase", "user_id": "ann", "item_id": "tea", "value": 8.5, "timestamp": minutes_ago(2)}]});
    client.post("/v1/events", &events).await.expect(200);
    server
}

fn minutes_ago(minutes: i64) -> String {
    use tastemaker_types::Window;
    Timestamp::now().minus(Window::from_millis(minutes * 60_000)).to_string()
}

async fn read(server: &Running, body: Value) -> Value {
    server.client.post(ONLINE, &body).await.expect(200).json()
}

fn column(answer: &Value, place: usize, part: &str) -> Value {
    answer["features"][place][part].clone()
}

async fn refused(server: &Running, path: &str, body: Value, status: u16) -> String {
    server.client.post(path, &body).await.expect(status).json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn features_come_in_the_order_asked_for_with_honest_statuses() {
    let server = shop().await;
    let names = ["latest", "user.recent_click_count", "money:spent", "country_is", "user_embedding"];
    let answer = read(&server, json!({"entities": {"user": ["bob", "ann", "nobody"]}, "features": names})).await;
    assert_eq!(answer["rows"], 3);
    let given: Vec<&str> = answer["features"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(given, names);
    assert_eq!(column(&answer, 0, "values"), json!([["tea"], ["pot", "tea"], null]));
    assert_eq!(column(&answer, 1, "values"), json!([0, 2, null]), "bob's click is an hour old");
    assert_eq!(column(&answer, 1, "statuses"), json!(["PRESENT", "PRESENT", "NOT_FOUND"]));
    assert_eq!(column(&answer, 1, "event_timestamps")[2], Value::Null);
    assert!(column(&answer, 1, "event_timestamps")[1].as_str().unwrap().ends_with('Z'));
    assert_eq!(column(&answer, 2, "values"), json!([null, {"drinks": 8.5}, null]));
    assert_eq!(column(&answer, 3, "values"), json!([null, "nz", null]));
    assert_eq!(column(&answer, 4, "statuses"), json!(["NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]), "nothing was trained");
    let types: Vec<Value> = (0..5).map(|place| column(&answer, place, "type")).collect();
    assert_eq!(types, ["texts", "number", "map", "text", "vector"]);
    server.stop().await;
}

#[tokio::test]
async fn users_and_items_together_are_pairs() {
    let server = shop().await;
    let names = json!(["pair.clicks", "fits", "item.clicks", "recent_click_count"]);
    let both = json!({"entities": {"user": ["ann", "bob"], "item": ["pot", "tea"]}, "features": names,
        "context": {"device": "phone"}});
    let answer = read(&server, both).await;
    assert_eq!(column(&answer, 0, "values"), json!([1, 1]));
    assert_eq!(column(&answer, 1, "values"), json!([false, null]), "bob has no country");
    assert_eq!(column(&answer, 2, "values"), json!([1, 2]));
    let one = json!({"entities": {"user": ["ann"], "item": ["tea", "pot", "unknown"]}, "features": names,
        "context": {"device": "phone"}});
    let answer = read(&server, one).await;
    assert_eq!(column(&answer, 0, "values"), json!([1, 1, null]));
    assert_eq!(column(&answer, 1, "values"), json!([true, false, null]));
    assert_eq!(column(&answer, 3, "values"), json!([2, 2, 2]));
    let other = json!({"entities": {"user": ["ann", "bob"], "item": ["tea"]}, "features": ["pair.clicks"]});
    assert_eq!(column(&read(&server, other).await, 0, "values"), json!([1, 1]));
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_candidates_are_one_call() {
    let server = shop().await;
    let mut items: Vec<String> = (0..1_000).map(|n| format!("i{n}")).collect();
    items[500] = "tea".to_owned();
    let body = json!({"entities": {"user": ["ann"], "item": items}, "features":
        ["item.clicks", "pair.clicks", "recent_click_count"]});
    let answer = read(&server, body).await;
    assert_eq!(answer["rows"], 1_000);
    for (place, value) in [(0, json!(2)), (1, json!(1))] {
        let values = column(&answer, place, "values");
        let known: Vec<usize> = (0..1_000).filter(|row| !values[row].is_null()).collect();
        assert_eq!((known, &values[500]), (vec![500], &value));
    }
    assert!(column(&answer, 2, "values").as_array().unwrap().iter().all(|value| *value == 2));
    server.stop().await;
}

#[tokio::test]
async fn an_empty_list_of_candidates_is_no_row() {
    let server = shop().await;
    for entities in [json!({"user": ["ann"], "item": []}), json!({"user": []}), json!({"user": [], "item": ["i1"]})] {
        let answer = read(&server, json!({"entities": entities, "features": ["recent_click_count"]})).await;
        assert_eq!(column(&answer, 0, "values"), json!([]), "{answer}");
    }
    let body = json!({"entities": {"user": [], "item": []}, "features": ["no_such"]});
    assert!(refused(&server, ONLINE, body, 400).await.contains("no_such"));
    server.stop().await;
}

#[tokio::test]
async fn many_values_are_read_apart_and_too_many_not_at_all() {
    let server = shop().await;
    let users: Vec<String> = (0..10_000).map(|n| if n == 9_999 { "ann".to_owned() } else { format!("u{n}") }).collect();
    let names = ["recent_click_count", "latest", "money:spent", "lifetime_value", "segment", "vip"];
    let answer = read(&server, json!({"entities": {"user": users}, "features": names})).await;
    assert_eq!(column(&answer, 0, "values")[9_999], 2);
    let more: Vec<String> = (0..10_001).map(|n| format!("u{n}")).collect();
    let detail = refused(&server, ONLINE, json!({"entities": {"user": more}, "features": names}), 400).await;
    assert!(detail.contains("entities.user") && detail.contains("at most 10000"), "{detail}");
    let names = vec!["recent_click_count"; 1_001];
    let detail = refused(&server, ONLINE, json!({"entities": {"user": ["ann"]}, "features": names}), 400).await;
    assert!(detail.contains("at most 1000"), "{detail}");
    server.stop().await;
}

#[tokio::test]
async fn the_product_of_rows_and_features_is_limited() {
    let columns: Vec<String> = (0..201).map(|n| format!("f{n} = \"number\"")).collect();
    let project =
        format!("[[feature_views]]\nname = \"wide\"\nentity = \"user\"\nfeatures = {{ {} }}\n", columns.join(", "));
    let server = Running::start(&project).await;
    let users: Vec<String> = (0..10_000).map(|n| format!("u{n}")).collect();
    let names: Vec<String> = (0..201).map(|n| format!("f{n}")).collect();
    let detail = refused(&server, ONLINE, json!({"entities": {"user": users}, "features": names}), 400).await;
    assert!(detail.contains("2010000 values; ask for at most 2000000"), "{detail}");
    server.stop().await;
}

/// A user whose vector is as long as one may be.
async fn taste(server: &Running) {
    let row = json!({"user_id": ["ann"], "taste": [vec![0.123_456_7; 4_096]]});
    // Not over HTTP, where a slow disk would be a timeout.
    server.engine.push_features("worth", &serde_json::from_value(row).unwrap()).await.unwrap();
}

fn tastes(rows: usize) -> Value {
    json!({"entities": {"user": vec!["ann"; rows]}, "features": ["taste"]})
}

#[tokio::test]
async fn the_bytes_of_an_answer_are_limited() {
    let server = shop().await;
    taste(&server).await;
    let detail = refused(&server, ONLINE, tastes(10_000), 400).await;
    assert!(detail.contains("entities") && detail.contains("more than 128 MiB; ask for at most 27"), "{detail}");
    // One vector that goes with all rows is as large as many.
    let items: Vec<String> = (0..10_000).map(|n| format!("i{n}")).collect();
    let body = json!({"entities": {"user": ["ann"], "item": items}, "features": ["taste", "item.clicks"]});
    let detail = refused(&server, ONLINE, body, 400).await;
    assert!(detail.contains("ask for at most 27"), "{detail}");
    let answer = read(&server, tastes(3)).await;
    assert_eq!(column(&answer, 0, "values")[2].as_array().unwrap().len(), 4_096);
    server.stop().await;
}

#[tokio::test]
async fn a_large_read_keeps_no_thread_from_answering() {
    let server = shop().await;
    taste(&server).await;
    // The server and this test share one thread: whatever blocks it, blocks this.
    let client = tastemaker_testkit::Client::new(server.base.clone());
    let began = std::time::Instant::now();
    let large = tokio::spawn(async move { client.post(ONLINE, &tastes(300)).await.expect(200).text().len() });
    let mut slowest = std::time::Duration::ZERO;
    while !large.is_finished() {
        let asked = std::time::Instant::now();
        server.client.get("/health/live").await.expect(200);
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    assert!(large.await.unwrap() > 300 * 4_096 * 8);
    assert!(slowest < took / 2, "{slowest:?} of {took:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_large_read_ends_at_the_timeout() {
    let toml = format!("{PROJECT}\n[server]\nrequest_timeout = \"200ms\"\n");
    let server = Running::start(&toml).await;
    taste(&server).await;
    server.client.post(ONLINE, &tastes(2_700)).await.expect(504);
    server.stop().await;
}

#[tokio::test]
async fn the_server_validates_what_it_has_served_and_each_answer_once() {
    let recommend =
        "[recommend]\nlog_features = 1.0\nfeatures = [\"latest\", \"item.clicks\"]\nvalidate_every = \"1s\"\n";
    let server =
        Running::start(&PROJECT.replace("[recommend.context]", &format!("{recommend}[recommend.context]"))).await;
    let events = json!({"events": [{"type": "click", "user_id": "ann", "item_id": "tea"}]});
    server.client.post("/v1/events", &events).await.expect(200);
    let values = |metrics: &str| {
        let value = |line: &str| {
            line.strip_prefix("tastemaker_feature_validation_values_total")?.strip_prefix(' ')?.parse::<f64>().ok()
        };
        metrics.lines().find_map(value).unwrap_or(0.0)
    };
    let mut metrics = String::new();
    // Two values an answer; the second one is made when the first is validated.
    for expected in [2.0, 4.0] {
        let body = json!({"user_id": "bob", "limit": 1});
        server.client.post("/v1/recommendations", &body).await.expect(200);
        for _ in 0..600 {
            metrics = server.client.get("/metrics").await.expect(200).text();
            if values(&metrics) >= expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(values(&metrics), expected, "{metrics}");
    }
    // Several validations later.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    metrics = server.client.get("/metrics").await.expect(200).text();
    assert_eq!(values(&metrics), 4.0, "{metrics}");
    let line = r#"tastemaker_feature_validation_mismatches_total{feature="item.clicks"} 0"#;
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_name_the_place_and_a_remedy() {
    let server = shop().await;
    let ann = json!({"user": ["ann"]});
    for (body, parts) in [
        (
            json!({"entities": ann, "features": ["latest", "recent_clik_count"]}),
            ["features[1]", "did you mean 'recent_click_count'?"],
        ),
        (
            json!({"entities": ann, "features": ["worth:lifetime_valu"]}),
            ["features[0]", "did you mean 'worth:lifetime_value'?"],
        ),
        (json!({"entities": ann, "features": ["clicks"]}), ["features[0]", "write item.clicks or pair.clicks"]),
        (
            json!({"entities": ann, "features": ["item.clicks"]}),
            ["'item.clicks' is a feature of items", "give their ids"],
        ),
        (json!({"entities": ann, "features": ["pair.clicks"]}), ["entities", "ids of both users and items"]),
        (
            json!({"entities": {"item": ["tea"]}, "features": ["latest"]}),
            ["'latest' is a feature of users", "give their ids"],
        ),
        (json!({"entities": ann, "features": ["latest", "user.latest"]}), ["'user.latest'", "twice"]),
        (json!({"entities": ann, "feature_service": "rankin"}), ["feature_service", "did you mean 'ranking'?"]),
        (json!({"entities": ann, "feature_service": "ranking"}), ["'item.clicks'", "give their ids"]),
        (json!({"entities": ann, "feature_service": "ranking", "features": ["latest"]}), ["features", "not both"]),
        (json!({"entities": ann}), ["features", "give the names"]),
        (json!({"entities": {}, "features": ["latest"]}), ["entities", "give ids"]),
        (json!({"entities": {"user": ["ann", ""]}, "features": ["latest"]}), ["entities.user[1]", "empty"]),
        (json!({"entities": {"usr": ["ann"]}, "features": ["latest"]}), ["entities", "did you mean 'user'?"]),
        (
            json!({"entities": {"user": ["a", "b"], "item": ["1", "2", "3"]}, "features": ["fits"]}),
            ["entities", "2 users and 3 items"],
        ),
        (
            json!({"entities": ann, "features": ["latest"], "context": {"devise": "x"}}),
            ["context", "did you mean 'device'?"],
        ),
        (json!({"entities": ann, "features": ["latest"], "context": {"device": 7}}), ["context", "give a JSON string"]),
    ] {
        let detail = refused(&server, ONLINE, body.clone(), 400).await;
        assert!(parts.iter().all(|part| detail.contains(part)), "{body}: {detail}");
    }
    server.stop().await;
}

#[tokio::test]
async fn pushed_rows_are_read_at_once_and_after_a_restart() {
    let server = shop().await;
    let push = json!({"push_source_name": "worth", "to": "online_and_offline", "df": {
        "user_id": ["ann", 7, "old"],
        "lifetime_value": [12.5, 3, 1],
        "segment": ["gold", null, "x"],
        "vip": [true, null, null],
        "since": ["2026-01-02T03:04:05", null, null],
        "labels": [["a", "b"], [], null],
        "taste": [[0.5, 1], null, null],
        "event_timestamp": [minutes_ago(10), minutes_ago(1), minutes_ago(8 * 24 * 60)],
        "created": [null, minutes_ago(1), null]}});
    assert_eq!(server.client.post("/push", &push).await.expect(200).json(), 3);
    // Of two rows of one entity the newest event time counts.
    let older = json!({"feature_view_name": "worth", "df": {
        "user_id": ["ann"], "lifetime_value": [0.25], "event_timestamp": [minutes_ago(30)]}});
    server.client.post("/write-to-online-store", &older).await.expect(200);
    let names = ["lifetime_value", "segment", "vip", "since", "labels", "taste"];
    let body = json!({"entities": {"user": ["ann", "7", "old", "bob"]}, "features": names});
    let answer = read(&server, body.clone()).await;
    assert_eq!(column(&answer, 0, "values"), json!([12.5, 3, null, null]));
    assert_eq!(column(&answer, 0, "statuses"), json!(["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]));
    assert_eq!(column(&answer, 1, "statuses"), json!(["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]));
    assert_eq!(column(&answer, 3, "values")[0], "2026-01-02T03:04:05Z");
    assert_eq!(column(&answer, 4, "values"), json!([["a", "b"], [], null, null]));
    assert_eq!(column(&answer, 5, "values")[0], json!([0.5, 1.0]));

    let metrics = server.client.get("/metrics").await.expect(200).text();
    for line in [
        r#"tastemaker_feature_values_total{view="worth",status="OUTSIDE_MAX_AGE"} 6"#,
        r#"tastemaker_feature_values_total{view="worth",status="NOT_FOUND"} 6"#,
        r#"tastemaker_ingested_records_total{record="feature_row",result="accepted"} 4"#,
        "tastemaker_feature_refused_inputs_total 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no {line} in\n{metrics}");
    }
    let age = metrics.lines().find_map(|l| l.strip_prefix(r#"tastemaker_feature_view_age_seconds{view="worth"} "#));
    let age: f64 = age.unwrap().parse().unwrap();
    assert!((60.0..120.0).contains(&age), "{age}");
    assert!(!metrics.contains(r#"tastemaker_feature_view_age_seconds{view="affinity"}"#), "it has no rows");

    let server = Running::of(server.stop().await).await;
    assert_eq!(read(&server, body).await, answer);
    server.stop().await;
}

#[tokio::test]
async fn a_row_without_a_time_holds_since_now_and_pairs_have_two_keys() {
    let server = shop().await;
    let push = json!({"push_source_name": "affinity",
        "df": {"user_id": ["ann"], "item_id": ["tea"], "strength": [0.75]}});
    server.client.post("/push", &push).await.expect(200);
    let body = json!({"entities": {"user": ["ann"], "item": ["tea", "pot"]}, "features": ["strength"]});
    let answer = read(&server, body).await;
    assert_eq!(column(&answer, 0, "values"), json!([0.75, null]));
    let since: Timestamp = column(&answer, 0, "event_timestamps")[0].as_str().unwrap().parse().unwrap();
    let age = Timestamp::now().as_seconds() - since.as_seconds();
    assert!((0.0..60.0).contains(&age), "{age}");
    server.stop().await;
}

/// What the log says of rows of `worth`: event time, created, lifetime value.
fn logged(project: &tastemaker_testkit::Project) -> Vec<(Timestamp, Option<Timestamp>, f64)> {
    let log = tastemaker_log::LogReader::open(common::config(project).storage.log_dir()).unwrap();
    let rows = log.read_from(tastemaker_types::Position(0)).filter_map(|record| match record.unwrap().1 {
        tastemaker_types::Record::FeatureRow(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        let Some((_, tastemaker_types::FeatureValue::Number(value))) = row.values.first() else { panic!("{row:?}") };
        (row.event_timestamp, row.created, *value)
    })
    .collect()
}

#[tokio::test]
async fn a_row_that_is_pushed_late_was_created_when_it_was_pushed() {
    let server = shop().await;
    let before = Timestamp::now();
    let push = json!({"push_source_name": "worth", "df": {
        "user_id": ["ann", "bob", "cyd"], "lifetime_value": [1, 2, 3],
        "event_timestamp": [minutes_ago(600), minutes_ago(600), minutes_ago(600)],
        "created": [null, minutes_ago(30), minutes_ago(-30)]}});
    server.client.post("/push", &push).await.expect(200);
    let rows = logged(&server.stop().await);
    let created: Vec<Timestamp> = rows.iter().map(|row| row.1.unwrap()).collect();
    assert!((before..=Timestamp::now()).contains(&created[0]), "{rows:?}");
    assert!(created[1] < before, "it was given: {rows:?}");
    assert!((before..=Timestamp::now()).contains(&created[2]), "nothing is written later than it is there: {rows:?}");
}

#[tokio::test]
async fn a_pushed_row_of_the_future_waits_and_one_of_a_wrong_clock_is_refused() {
    let server = shop().await;
    let push = |minutes: i64, value: f64| {
        json!({"push_source_name": "worth", "df": {
            "user_id": ["ann"], "lifetime_value": [value], "event_timestamp": [minutes_ago(minutes)]}})
    };
    for (minutes, value) in [(5, 1.0), (-600, 2.0)] {
        server.client.post("/push", &push(minutes, value)).await.expect(200);
    }
    let answer = read(&server, json!({"entities": {"user": ["ann"]}, "features": ["lifetime_value"]})).await;
    assert_eq!((column(&answer, 0, "values"), column(&answer, 0, "statuses")), (json!([1]), json!(["PRESENT"])));
    let metrics = server.client.get("/metrics").await.expect(200).text();
    let age = metrics.lines().find_map(|l| l.strip_prefix(r#"tastemaker_feature_view_age_seconds{view="worth"} "#));
    assert!((300.0..400.0).contains(&age.unwrap().parse().unwrap()), "{age:?}");
    let detail = refused(&server, "/push", push(-25 * 60, 3.0), 422).await;
    assert!(detail.contains("df.event_timestamp[0]") && detail.contains("is in the future"), "{detail}");
    server.stop().await;
}

#[tokio::test]
async fn a_push_with_a_wrong_row_writes_nothing_and_names_each_fault() {
    let server = shop().await;
    let push = |df: Value| json!({"push_source_name": "worth", "df": df});
    let body = push(json!({
        "user_id": ["ann", "", null, "bob"],
        "lifetime_value": [1, "much", 2, true],
        "taste": [[1], [1, "x"], [1e300], "y"],
        "event_timestamp": [null, "yesterday", 5, "2026-01-02"]}));
    let answer = server.client.post("/push", &body).await.expect(422).json();
    let found: Vec<&str> = answer["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(
        found,
        [
            "df.event_timestamp[0]",
            "df.user_id[1]",
            "df.lifetime_value[1]",
            "df.taste[1]",
            "df.event_timestamp[1]",
            "df.user_id[2]",
            "df.taste[2]",
            "df.lifetime_value[3]",
            "df.taste[3]"
        ]
    );
    assert!(answer["detail"].as_str().unwrap().starts_with("nothing was written"), "{answer}");
    let after = read(&server, json!({"entities": {"user": ["ann", "bob"]}, "features": ["lifetime_value"]})).await;
    assert_eq!(column(&after, 0, "statuses"), json!(["NOT_FOUND", "NOT_FOUND"]));
    for (df, part) in [
        (json!({"user_id": ["ann"], "lifetime_valu": [1]}), "did you mean 'lifetime_value'?"),
        (json!({"lifetime_value": [1]}), "df.user_id: it is missing"),
        (json!({"user_id": ["ann", "bob"], "lifetime_value": [1]}), "df.lifetime_value: it has 1 values"),
        (json!({"user_id": ["ann"], "item_id": ["tea"]}), "no column 'item_id'"),
    ] {
        let detail = refused(&server, "/push", push(df.clone()), 422).await;
        assert!(detail.contains(part), "{df}: {detail}");
    }
    let detail = refused(&server, "/push", json!({"push_source_name": "wroth", "df": {}}), 400).await;
    assert!(detail.contains("did you mean 'worth'?"), "{detail}");
    server.stop().await;
}

#[tokio::test]
async fn feasts_clients_get_columns_with_join_keys_first() {
    let server = shop().await;
    server.client.get("/health").await.expect(200);
    let push = json!({"push_source_name": "worth",
        "df": {"user_id": [7], "lifetime_value": [2.5], "event_timestamp": ["2026-01-02T03:04:05"]}});
    server.client.post("/push", &push).await.expect(200);
    let body = json!({"entities": {"user_id": ["ann", 7]}, "feature_service": null, "full_feature_names": true,
        "features": ["user:recent_click_count", "worth:lifetime_value"], "include_feature_view_version_metadata": false});
    let answer = server.client.post("/get-online-features", &body).await.expect(200).json();
    let names = json!(["user_id", "user__recent_click_count", "worth__lifetime_value"]);
    assert_eq!(answer["metadata"]["feature_names"], names);
    let epoch = "1970-01-01T00:00:00Z";
    assert_eq!(
        answer["results"][0],
        json!({"values": ["ann", 7], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": [epoch, epoch]})
    );
    assert_eq!(answer["results"][1]["values"], json!([2, null]));
    assert_eq!(answer["results"][1]["event_timestamps"][1], epoch);
    assert_eq!(answer["results"][2]["statuses"], json!(["NOT_FOUND", "OUTSIDE_MAX_AGE"]));
    assert_eq!(answer["results"][2]["event_timestamps"], json!([epoch, "2026-01-02T03:04:05Z"]));

    let service = json!({"entities": {"user_id": ["ann"], "item_id": ["tea"]}, "feature_service": "ranking"});
    let answer = server.client.post("/get-online-features", &service).await.expect(200).json();
    let names = json!(["user_id", "item_id", "recent_click_count", "lifetime_value", "clicks"]);
    assert_eq!(answer["metadata"]["feature_names"], names);
    assert_eq!(answer["results"][4]["values"], json!([2]));

    // Their client fails on an empty list; ours gets it.
    let empty = json!({"push_source_name": "worth", "df": {"user_id": ["kim"], "labels": [[]]}});
    server.client.post("/push", &empty).await.expect(200);
    let body = json!({"entities": {"user_id": ["kim"]}, "features": ["worth:labels"]});
    let answer = server.client.post("/get-online-features", &body).await.expect(200).json();
    assert_eq!(
        (&answer["results"][1]["values"], &answer["results"][1]["statuses"]),
        (&json!([null]), &json!(["NULL_VALUE"]))
    );

    for (entities, part) in [
        (json!({"user": ["ann"]}), "no join key 'user'; known: item_id, user_id"),
        (json!({"user_id": [1.5]}), "entities.user_id[0]"),
        (json!({"user_id": ["ann", "bob"], "item_id": ["tea"]}), "the same number of each join key"),
    ] {
        let body = json!({"entities": entities, "features": ["user:recent_click_count"]});
        let detail = refused(&server, "/get-online-features", body, 400).await;
        assert!(detail.contains(part), "{detail}");
    }
    let entities = json!({"user_id": ["ann"], "item_id": ["tea"]});
    let mut body = json!({"entities": entities, "features": ["item:clicks", "pair:clicks"]});
    let detail = refused(&server, "/get-online-features", body.clone(), 400).await;
    assert!(detail.contains("two of them are called 'clicks'; set full_feature_names to true"), "{detail}");
    body["full_feature_names"] = json!(true);
    let answer = server.client.post("/get-online-features", &body).await.expect(200).json();
    assert_eq!(answer["metadata"]["feature_names"], json!(["user_id", "item_id", "item__clicks", "pair__clicks"]));
    server.stop().await;
}

#[tokio::test]
async fn the_list_tells_what_is_declared() {
    let server = shop().await;
    let list = server.client.get("/v1/features").await.expect(200).json();
    let features = list["features"].as_array().unwrap();
    let find = |entity: &str, name: &str| features.iter().find(|f| f["entity"] == entity && f["name"] == name).unwrap();
    assert_eq!(
        *find("user", "recent_click_count"),
        json!({"name": "recent_click_count", "entity": "user", "view": "user", "type": "number", "source": "stream",
            "description": "Clicks of the last half hour", "owner": "search team", "tags": ["behaviour"]})
    );
    assert_eq!(find("user", "lifetime_value")["ttl"], "1w");
    assert_eq!(find("user", "lifetime_value")["source"], "batch");
    assert_eq!(find("pair", "fits")["source"], "expression");
    assert_eq!(find("user", "user_embedding")["source"], "model");
    let services =
        json!([{"name": "ranking", "features": ["recent_click_count", "worth:lifetime_value", "item.clicks"]}]);
    assert_eq!(list["feature_services"], services);
    server.stop().await;
}
