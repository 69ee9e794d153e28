//! What the server has served, with features in boosts and filters while everything changes under it, is what its log says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Running, config};
use serde_json::{Value, json};
use tastemaker_features::offline::{Validation, ValidationOptions};
use tastemaker_features::set::FeatureSet;
use tastemaker_log::LogReader;
use tastemaker_testkit::Client;
use tastemaker_types::{Position, Timestamp, Window};

const PROJECT: &str = r#"
[items.attributes]
category = "tag"
price = "number"

[users.attributes]
country = "tag"

[events]
impression = {}
click = { positive = true }
purchase = { positive = true, weight = 5.0 }

[recommend]
boost = "1 + 0.2 * coalesce(item.ctr, 0) + 0.1 * coalesce(pair.clicks, 0)"
eligibility = "coalesce(item.clicks, 0) < 1000000"
log_features = 1.0
features = ["recent", "spent", "latest", "session", "item.ctr", "pair.clicks", "dear", "lifetime_value", "stock"]
[recommend.context]
device = "tag"

[[features]]
entity = "user"
name = "recent"
aggregate = "count"
events = ["click"]
window = "30m"

[[features]]
entity = "user"
name = "spent"
aggregate = "sum"
events = ["purchase"]
group_by = "item.category"
ttl = "2h"

[[features]]
entity = "user"
name = "latest"
aggregate = "last_k"
k = 3

[[features]]
entity = "user"
name = "session"
aggregate = "session_duration"
gap = "10m"

[[features]]
entity = "item"
name = "ctr"
aggregate = "rate"
events = ["click"]
per = ["impression"]
prior = 10
prior_mean = 0.1
window = "1h"

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
name = "dear"
expression = "item.price / (1 + coalesce(user.recent, 0)) + coalesce(pair.clicks, 0)"

[[feature_views]]
name = "worth"
entity = "user"
ttl = "1h"
features = { lifetime_value = "number" }

[[feature_views]]
name = "stocks"
entity = "item"
features = { stock = "number" }
defaults = { stock = 0 }
"#;

const USERS: u64 = 20;
const ITEMS: u64 = 120;
/// Items of an answer.
const LIMIT: usize = 50;
/// Features of each, and what the boost and the eligibility read besides.
const LEAST_VALUES: u64 = 100_000;
const ANSWERS: u64 = 300;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn user(&mut self) -> String {
        format!("u{}", self.below(USERS))
    }

    fn item(&mut self) -> String {
        format!("i{}", self.below(ITEMS))
    }

    /// Mostly just now; some late, some out of order, some of clocks that run ahead.
    fn time(&mut self) -> String {
        let seconds = match self.below(10) {
            0 => -(self.below(7_200) as i64),
            1 => self.below(3_600) as i64,
            2 => self.below(3) as i64,
            _ => -(self.below(60) as i64),
        };
        Timestamp::now().plus(Window::from_millis(seconds * 1_000)).to_string()
    }

    fn event(&mut self, number: u64) -> Value {
        // Some ids come again.
        let number = if self.below(10) == 0 { number / 2 } else { number };
        let kind = ["impression", "click", "click", "purchase"][self.below(4) as usize];
        json!({"event_id": format!("e{number}"), "type": kind, "user_id": self.user(), "item_id": self.item(),
            "timestamp": self.time(), "value": self.below(100) as f64 / 7.0})
    }

    fn item_with_attributes(&mut self, id: String) -> Value {
        let category = format!("c{}", self.below(4));
        json!({"id": id, "attributes": {"category": category, "price": self.below(500) as f64 / 7.0}})
    }
}

async fn write(client: &Client, random: &mut Random, round: u64) {
    let events: Vec<Value> = (0..20).map(|n| random.event(round * 20 + n)).collect();
    client.post("/v1/events", &json!({ "events": events })).await.expect(200);
    let push = |view: &str, key: &str, ids: Vec<String>, feature: &str, random: &mut Random| {
        let values: Vec<u64> = ids.iter().map(|_| random.below(100)).collect();
        let times: Vec<String> = ids.iter().map(|_| random.time()).collect();
        json!({"push_source_name": view, "df": {key: ids, feature: values, "event_timestamp": times}})
    };
    let users = (0..3).map(|_| random.user()).collect();
    let body = push("worth", "user_id", users, "lifetime_value", random);
    client.post("/push", &body).await.expect(200);
    let items = (0..3).map(|_| random.item()).collect();
    let body = push("stocks", "item_id", items, "stock", random);
    client.post("/push", &body).await.expect(200);
    match random.below(6) {
        0 => drop(client.delete(&format!("/v1/users/{}", random.user())).await),
        1 => drop(client.delete(&format!("/v1/items/{}", random.item())).await),
        _ => {
            let id = random.item();
            client.post("/v1/items", &random.item_with_attributes(id)).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_served_values_are_what_the_log_comes_to() {
    let server = Running::start(PROJECT).await;
    let mut random = Random(1);
    let items: Vec<Value> = (0..ITEMS).map(|n| random.item_with_attributes(format!("i{n}"))).collect();
    server.client.post("/v1/items", &json!({ "items": items })).await.expect(200);
    let ended = Arc::new(AtomicBool::new(false));
    let (client, writing) = (Client::new(server.base.clone()), Arc::clone(&ended));
    let writer = tokio::spawn(async move {
        let mut random = Random(77);
        let mut round = 0;
        while !writing.load(Ordering::Relaxed) {
            write(&client, &mut random, round).await;
            round += 1;
        }
        round
    });
    for _ in 0..ANSWERS {
        let body = json!({"user_id": random.user(), "limit": LIMIT, "include_seen": true, "context": {"device": "tv"},
            "filter": "coalesce(item.stock, 0) >= 0 AND price / (1 + coalesce(user.recent, 0)) < 1000"});
        server.client.post("/v1/recommendations", &body).await.expect(200);
    }
    ended.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 20, "the world has to change while answers are made");
    let project = server.stop().await;

    let config = config(&project);
    let set = Arc::new(FeatureSet::compile(&config).unwrap());
    let log = LogReader::open(config.storage.log_dir()).unwrap();
    let options = ValidationOptions { sample: 1.0, since: None, from: Position(0) };
    let validation = Validation::run(&set, &log, &options, |_| ControlFlow::Continue(())).unwrap();
    assert!(validation.missed.is_empty() && validation.skipped.is_empty(), "{validation:#?}");
    assert_eq!((validation.answers, validation.compared), (ANSWERS, ANSWERS));
    assert!(validation.values >= LEAST_VALUES, "{} values", validation.values);
    assert_eq!(validation.mismatches, 0, "{:#?}", validation.features);
    assert!(validation.features.len() >= 10, "{:?}", validation.features.keys());
    for (name, feature) in &validation.features {
        assert!(feature.compared > feature.replayed_nulls, "{name} has no value at all: is it tested?");
    }
}
