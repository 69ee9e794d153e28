//! Overload, slow clients, and stopping under load.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Running, SHOP, event, send_clicks, send_items};
use serde_json::json;
use tastemaker_testkit::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that announces a body and does not send it.
async fn stalled(base: &str) -> TcpStream {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let head =
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn too_many_requests_at_once_are_turned_away_with_a_time_to_come_back() {
    let server = Running::start(&format!("{SHOP}\n[server]\nconcurrency_limit = 1\n")).await;
    let stalling = stalled(&server.base).await;
    until("overload", async || server.client.get("/v1/items").await.status == 503).await;
    let answer = server.client.get("/v1/items").await.expect(503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.json()["type"], "urn:tastemaker:problem:overloaded");
    server.client.get("/health/live").await.expect(200);
    server.client.get("/metrics").await.expect(200);
    drop(stalling);
    until("room", async || server.client.get("/v1/items").await.status == 200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_so() {
    let server = Running::start(&format!("{SHOP}\n[server]\nrequest_timeout = \"200ms\"\n")).await;
    let mut stalling = stalled(&server.base).await;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), stalling.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("urn:tastemaker:problem:timeout"), "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_fails_no_request() {
    let server = Running::start(SHOP).await;
    send_items(&server.client, 200).await;
    send_clicks(&server.client, 50, 200, 2_000).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..16)
        .map(|worker| {
            // Half of them keep one connection, half make a new one for each request.
            let (base, answered) = (server.base.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let keeping = Client::new(&base);
                for round in 0.. {
                    let client = if worker % 2 == 0 { keeping.clone() } else { Client::new(&base) };
                    let path = format!("/v1/users/u{}/recommendations", round % 50);
                    let body = json!({"events": [event(&format!("w{worker}r{round}"), "u1", "i1")]}).to_string();
                    let sent = match worker % 4 {
                        0 | 1 => client.try_send(hyper::Method::GET, &path, None).await,
                        _ => {
                            let body = Some(("application/json", body.into()));
                            client.try_send(hyper::Method::POST, "/v1/events", body).await
                        }
                    };
                    match sent {
                        Ok(answer) => {
                            assert_eq!(answer.status, 200, "{}", answer.text());
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        // The server has stopped listening.
                        Err(error) if error.is_connect() => return,
                        Err(error) => panic!("a request failed: {error:?}"),
                    }
                }
            })
        })
        .collect();
    until("load", async || answered.load(Ordering::Relaxed) > 500).await;
    let client = server.client.clone();
    let watching = tokio::spawn(async move {
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.try_send(hyper::Method::GET, "/health/ready", None).await.unwrap().status != 503 {
            assert!(Instant::now() < deadline, "readiness did not change");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let before = answered.load(Ordering::Relaxed);
    server.stop().await;
    watching.await.unwrap();
    for worker in load {
        worker.await.unwrap();
    }
    let after = answered.load(Ordering::Relaxed);
    println!("{before} requests answered before the signal, {} while draining, none failed", after - before);
    assert!(after > before, "nothing was answered while draining");
}

/// Mounts a small file system, for tests that fill it; `None` where that is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_507_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("2m") else {
        println!("skipped: mounting a small file system is not allowed here");
        return;
    };
    let data = disk.0.path().join("data");
    let toml = format!("[storage]\ndata_dir = {:?}\n{SHOP}", data.display().to_string());
    let server = Running::start(&toml).await;
    let mut accepted = Vec::new();
    let refused = loop {
        let n = accepted.len();
        assert!(n < 10_000, "the disk does not fill");
        let id = format!("e{n}");
        let mut large = event(&id, "u", &format!("i{n}"));
        large["properties"] = json!({"note": "x".repeat(10_000)});
        let answer = server.client.post("/v1/events", &json!({ "events": [large] })).await;
        if answer.status != 200 {
            break answer;
        }
        accepted.push(id);
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(refused.json()["type"], "urn:tastemaker:problem:storage-full");
    // Reading goes on, and nothing of the refused request is there.
    server.client.get("/v1/users/u/recommendations").await.expect(200);
    server.client.get(&format!("/v1/items/i{}", accepted.len())).await.expect(404);
    let metrics = server.client.get("/metrics").await.text();
    assert!(metrics.contains("tastemaker_log_write_failures_total{reason=\"full\"} 1"), "{metrics}");

    // With space again, writing goes on, and all that was acknowledged is there once.
    let resized =
        std::process::Command::new("mount").args(["-o", "remount,size=16m"]).arg(disk.0.path()).status().unwrap();
    assert!(resized.success());
    let again = event("after", "u", "after");
    server.client.post("/v1/events", &json!({ "events": [again] })).await.expect(200);
    let server = Running::of(server.stop().await).await;
    for chunk in accepted.chunks(500) {
        let events: Vec<_> = chunk.iter().map(|id| event(id, "u", "i")).collect();
        let answer = server.client.post("/v1/events", &json!({ "events": events })).await.expect(200).json();
        assert_eq!(answer["duplicates"], chunk.len());
    }
    let ready = server.client.get("/health/ready").await.json();
    println!("{} events until the disk was full", accepted.len());
    assert!(ready["items"].as_u64().unwrap() > accepted.len() as u64);
    server.stop().await;
}
