//! A server in this process, on a free port, with a project in a temporary folder.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tastemaker_config::{Config, LoadOptions};
use tastemaker_server::{Access, Engine, EngineError};
use tastemaker_testkit::{Client, Interactions, Project, RedisServer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SHOP: &str = r#"
[items.attributes]
title = "text"
category = "tag"
price = "number"
available = "bool"
[users.attributes]
country = "tag"
[recommend]
fresh_window = "3650d"
popular_window = "3650d"
"#;

pub(crate) struct Running {
    /// What it serves from, if that is not its own memory.
    pub(crate) redis: Option<RedisServer>,
    pub(crate) project: Project,
    pub(crate) client: Client,
    pub(crate) engine: Arc<Engine>,
    pub(crate) base: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), EngineError>>,
}

pub(crate) fn config(project: &Project) -> Arc<Config> {
    let options = LoadOptions { path: project.file(), ..LoadOptions::default() };
    Arc::new(Config::load(&options).unwrap().config)
}

impl Running {
    /// Served from memory, or from a Redis of its own where `TASTEMAKER_TEST_ONLINE` is `redis`: what holds of one holds of the other.
    pub(crate) async fn start(toml: &str) -> Self {
        match std::env::var("TASTEMAKER_TEST_ONLINE").as_deref() {
            Ok("redis") => Self::start_on(RedisServer::start(&[]), toml).await,
            _ => Self::of(Project::new(toml)).await,
        }
    }

    pub(crate) async fn start_on(redis: RedisServer, toml: &str) -> Self {
        let online = format!("[storage]\nonline = \"{}\"\n", redis.url());
        let toml = match toml.contains("[storage]\n") {
            true => toml.replace("[storage]\n", &online),
            false => format!("{toml}\n{online}"),
        };
        let server = Self { redis: Some(redis), ..Self::of(Project::new(&toml)).await };
        server.until_online(|health| health["whole"] == true).await;
        server
    }

    /// Waits for what readiness says of Redis.
    pub(crate) async fn until_online(&self, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ready = self.client.get("/health/ready").await.json();
            if holds(&ready["online"]) {
                return;
            }
            assert!(Instant::now() < deadline, "Redis did not get there: {ready}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn of(project: Project) -> Self {
        Self::with(project, Access::ReadWrite).await
    }

    pub(crate) async fn with(project: Project, access: Access) -> Self {
        let config = config(&project);
        let engine = tokio::task::spawn_blocking(move || Engine::open(config, access)).await.unwrap().unwrap();
        let engine = Arc::new(engine);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&engine);
        let task = tokio::spawn(async move {
            tastemaker_server::serve_engine(serving, listener, async {
                let _ = stopped.await;
            })
            .await
        });
        Self { redis: None, project, client: Client::new(base.clone()), engine, base, stop, task }
    }

    /// Drains it as a signal would; gives the project back for another start.
    pub(crate) async fn stop(self) -> Project {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
        self.project
    }
}

/// An event with an id of its own.
pub(crate) fn event(id: &str, user: &str, item: &str) -> Value {
    json!({"event_id": id, "type": "click", "user_id": user, "item_id": item})
}

/// Sends generated clicks in batches.
pub(crate) async fn send_clicks(client: &Client, users: u64, items: u64, count: usize) {
    let events: Vec<_> = Interactions::new(users, items, 5, 1).take(count).collect();
    for chunk in events.chunks(2_000) {
        client.post("/v1/events", &json!({ "events": chunk })).await.expect(200);
    }
}

/// Sends `count` items `i0`, `i1`, … with attributes that follow from their numbers.
pub(crate) async fn send_items(client: &Client, count: usize) {
    let item = |n: usize| {
        let category = ["books", "games", "music", "films", "tools"][n % 5];
        json!({"id": format!("i{n}"), "attributes": {
            "title": format!("Item {n}"), "category": category, "price": n as f64, "available": n.is_multiple_of(2)}})
    };
    let items: Vec<Value> = (0..count).map(item).collect();
    for chunk in items.chunks(1_000) {
        client.post("/v1/items", &json!({ "items": chunk })).await.expect(200);
    }
}
