//! The client against a real Redis: what it does when that is slow, frozen, gone, full, or will not let it in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Heard, client_of, patient, redis};
use tastemaker_config::RedisConfig;
use tastemaker_redis::{BreakerState, Client, Operation, Pipeline, RedisError, Script, Value, cmd};
use tastemaker_testkit::RedisServer;
use tastemaker_types::Window;

const READ: Operation = Operation::repeatable("read");

/// Short deadlines, as requests have them.
fn hurried() -> RedisConfig {
    RedisConfig { command_timeout: Window::from_millis(100), connect_timeout: Window::from_millis(1_000), ..patient() }
}

async fn until(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn commands_and_pipelines_are_answered_in_order() {
    let (_server, client) = redis();
    client.warm().await.unwrap();
    client.call(Operation::once("set"), cmd("SET").arg("a").arg("1")).await.unwrap();
    let mut pipeline = Pipeline::new();
    pipeline.cmd("GET").arg("a").cmd("LPUSH").arg("a").arg(1).cmd("GET").arg("b");
    let answers = client.pipeline(READ, &pipeline).await.unwrap();
    assert_eq!(answers[0], Ok(Value::BulkString(b"1".to_vec())));
    assert_eq!(answers[1], Err(RedisError::WrongType { operation: "read" }));
    assert_eq!(answers[2], Ok(Value::Nil));
}

#[tokio::test]
async fn a_script_is_loaded_when_the_server_has_forgotten_it() {
    let (_server, client) = redis();
    let script = Script::new("return ARGV[1] .. KEYS[1]");
    for _ in 0..2 {
        let mut runs = Pipeline::new();
        for argument in ["a", "b"] {
            let mut run = script.run("k");
            run.arg(argument);
            runs.add_command(run);
        }
        let answers = client.scripts(READ, &script, &runs).await.unwrap();
        assert_eq!(answers[0], Ok(Value::BulkString(b"ak".to_vec())));
        assert_eq!(answers[1], Ok(Value::BulkString(b"bk".to_vec())));
        client.call(READ, cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_opens_the_breaker_within_a_second_and_closes_it_when_it_thaws() {
    let server = RedisServer::start(&[]);
    let heard = Arc::new(Heard::default());
    let client = Client::open(&server.url(), &hurried(), Arc::clone(&heard) as _).unwrap();
    client.warm().await.unwrap();
    client.ping().await.unwrap();
    server.freeze();
    let frozen = Instant::now();
    let mut slowest = Duration::ZERO;
    while client.breaker() == BreakerState::Closed {
        let asked = Instant::now();
        let answers = futures::future::join_all((0..4).map(|_| client.ping())).await;
        slowest = slowest.max(asked.elapsed());
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(RedisError::is_transient)), "{answers:?}");
        assert!(frozen.elapsed() < Duration::from_secs(1), "the breaker is still closed");
    }
    assert!(slowest < Duration::from_millis(500), "a command took {slowest:?}");
    let asked = Instant::now();
    assert_eq!(client.ping().await, Err(RedisError::BreakerOpen { operation: "ping" }));
    assert!(asked.elapsed() < Duration::from_millis(20), "an open breaker answers at once");
    // It stays open as long as nobody answers.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_ne!(client.breaker(), BreakerState::Closed);
    server.thaw();
    until(Duration::from_secs(5), "the breaker closes", async || client.ping().await.is_ok()).await;
    let states = heard.breaker.lock().clone();
    assert_eq!(states.first(), Some(&BreakerState::Open));
    assert!(states.contains(&BreakerState::HalfOpen));
    assert_eq!(states.last(), Some(&BreakerState::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_found_again_when_it_is_back() {
    let mut server = RedisServer::start(&[]);
    let client = client_of(&server, &hurried());
    client.warm().await.unwrap();
    server.kill();
    until(Duration::from_secs(1), "the breaker opens", async || {
        let error = client.ping().await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        client.breaker() != BreakerState::Closed
    })
    .await;
    server.restart();
    until(Duration::from_secs(5), "commands work", async || client.ping().await.is_ok()).await;
}

#[tokio::test]
async fn a_broken_connection_costs_a_retry_and_no_error() {
    let server = RedisServer::start(&[]);
    let heard = Arc::new(Heard::default());
    let config = RedisConfig { connections: 1, ..patient() };
    let client = Client::open(&server.url(), &config, Arc::clone(&heard) as _).unwrap();
    for _ in 0..5 {
        client.ping().await.unwrap();
        server.raw("CLIENT KILL TYPE normal");
        client.ping().await.unwrap();
    }
    assert_eq!(client.breaker(), BreakerState::Closed);
    // What must not be sent twice is not.
    client.ping().await.unwrap();
    let before = heard.retries.lock().len();
    server.raw("CLIENT KILL TYPE normal");
    let _ = client.call(Operation::once("incr"), cmd("INCR").arg("n")).await;
    assert_eq!(heard.retries.lock().len(), before);
}

#[tokio::test]
async fn a_caller_that_gives_up_first_counts_as_a_timeout() {
    let server = RedisServer::start(&[]);
    let client = client_of(&server, &hurried());
    client.ping().await.unwrap();
    server.freeze();
    for _ in 0..client.config().breaker.failures {
        let given_up = tokio::time::timeout(Duration::from_millis(70), client.ping()).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    assert_ne!(client.breaker(), BreakerState::Closed);
    server.thaw();
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_still_reads() {
    let (server, client) = redis();
    client.call(READ, cmd("SET").arg("a").arg("1")).await.unwrap();
    // An empty Redis needs less than a megabyte.
    server.raw("CONFIG SET maxmemory 100kb");
    let error = client.call(READ, cmd("SET").arg("b").arg("1")).await.unwrap_err();
    assert_eq!(error, RedisError::OutOfMemory { operation: "read" });
    assert!(error.to_string().contains("raise maxmemory"));
    client.call(READ, cmd("GET").arg("a")).await.unwrap();
    assert_eq!(client.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn a_replica_refuses_writes() {
    let (server, client) = redis();
    server.raw("REPLICAOF 127.0.0.1 1");
    server.raw("CONFIG SET replica-serve-stale-data yes");
    let error = client.call(Operation::once("set"), cmd("SET").arg("b").arg("1")).await.unwrap_err();
    assert_eq!(error.kind(), "read_only");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_repeated() {
    let server = RedisServer::start(&["--requirepass", "right"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let wrong = Client::open(&url("hunter2"), &patient(), Arc::new(())).unwrap();
    let error = wrong.ping().await.unwrap_err();
    assert_eq!(error.kind(), "authentication", "{error}");
    assert!(!format!("{error} {error:?} {wrong:?}").contains("hunter2"));
    Client::open(&url("right"), &patient(), Arc::new(())).unwrap().ping().await.unwrap();
    let separate = RedisConfig { password: Some("right".to_owned()), ..patient() };
    Client::open(&server.url(), &separate, Arc::new(())).unwrap().ping().await.unwrap();
    let none = Client::open(&server.url(), &patient(), Arc::new(())).unwrap();
    assert_eq!(none.ping().await.unwrap_err().kind(), "authentication");
    let unreadable = Client::open("redis://:hunter2@[::", &patient(), Arc::new(())).unwrap_err();
    assert!(!format!("{unreadable} {unreadable:?}").contains("hunter2"), "{unreadable}");
}

#[tokio::test]
async fn a_user_without_the_right_is_told_which() {
    let server = RedisServer::start(&[]);
    server.raw("ACL SETUSER weak on >pass ~* +@read +@connection");
    let url = format!("redis://weak:pass@127.0.0.1:{}", server.port());
    let client = Client::open(&url, &patient(), Arc::new(())).unwrap();
    let error = client.call(READ, cmd("SET").arg("a").arg(1)).await.unwrap_err();
    assert_eq!(error.kind(), "no_permission");
    assert!(error.to_string().contains("'set'"), "{error}");
    let mut pipeline = Pipeline::new();
    pipeline.cmd("GET").arg("a").cmd("DEL").arg("a");
    let answers = client.pipeline(READ, &pipeline).await.unwrap();
    assert!(answers[0].is_ok());
    let error = answers[1].clone().unwrap_err();
    assert_eq!(error.kind(), "no_permission");
    assert!(error.to_string().contains("'del'"), "{error}");
    // A script that may be run, but not do all that it does.
    server.raw("ACL SETUSER weak +evalsha +script|load");
    let script = Script::new("return redis.call('SET', KEYS[1], 1)");
    let mut runs = Pipeline::new();
    runs.add_command(script.run("a"));
    let error = client.scripts(READ, &script, &runs).await.unwrap().remove(0).unwrap_err();
    assert_eq!(error.kind(), "no_permission");
    assert!(error.to_string().contains("'set'"), "{error}");
}

#[tokio::test]
async fn a_server_without_search_says_what_to_run() {
    let server = RedisServer::start_bare(&[]);
    let client = client_of(&server, &patient());
    let error = client.index_info("idx:items").await.unwrap_err();
    assert_eq!(error, RedisError::SearchMissing { operation: "index_info" });
    assert!(error.to_string().contains("redis:8"));
}
