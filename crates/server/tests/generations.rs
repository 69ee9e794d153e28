//! A running server and new generations: picked up under load, refused when corrupt, promoted and rolled back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Running, SHOP, config, event, send_clicks, send_items};
use serde_json::{Value, json};
use tastemaker_artifacts::{GenerationStore, Version};
use tastemaker_testkit::Project;
use tastemaker_training::{TrainOptions, train};

const SMALL: &str = "[embeddings]\nrank = 8\niterations = 3\n[training]\nkeep_generations = 5\n";

async fn start() -> Running {
    let server = Running::start(&format!("{SHOP}{SMALL}")).await;
    send_items(&server.client, 200).await;
    send_clicks(&server.client, 100, 200, 4_000).await;
    server
}

/// Trains beside the running server, as `tastemaker train` does, and gives the version.
async fn train_one(project: &Project, promote: bool) -> u64 {
    let config = config(project);
    let options = TrainOptions { holdout: false, promote, force: true };
    let trained = move || train(&config, options, "test", &mut |_| ControlFlow::Continue(())).unwrap();
    tokio::task::spawn_blocking(trained).await.unwrap().version.0
}

async fn until_serving(server: &Running, version: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let ready = server.client.get("/health/ready").await.expect(200).json();
        // Where answers come from Redis, a generation is published there before it serves.
        let online = ready["online"].is_null() || ready["online"]["generation"] == version;
        if ready["generation"]["version"] == version && online {
            return;
        }
        assert!(Instant::now() < deadline, "generation {version} does not serve: {ready}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn folder(project: &Project, version: u64) -> PathBuf {
    project.path().join(format!("data/generations/{version:010}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_generation_is_picked_up_with_no_failed_request() {
    let server = start().await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|worker| {
            let (client, stop, answered) = (server.client.clone(), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut generations = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/v1/users/u{}/recommendations?limit=10", worker * 7);
                    let answer = client.get(&path).await.expect(200).json();
                    assert!(!answer["items"].as_array().unwrap().is_empty());
                    generations.push(answer["generation"].as_u64().unwrap_or(0));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                generations.dedup();
                generations
            })
        })
        .collect();
    let first = train_one(&server.project, true).await;
    until_serving(&server, first).await;
    let second = train_one(&server.project, true).await;
    until_serving(&server, second).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    for worker in load {
        let seen = worker.await.unwrap();
        if server.redis.is_some() {
            // An answer that Redis was late for is made here, where the new generation serves a little earlier.
            assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&second)));
        } else {
            assert_eq!(seen, [0, first, second], "each switch is seen once, in order");
        }
    }
    println!("{} answers through two switches", answered.load(Ordering::Relaxed));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_changes_the_next_answer_of_a_trained_model() {
    let server = start().await;
    until_serving(&server, train_one(&server.project, true).await).await;
    let ask = async || {
        let answer = server.client.get("/v1/users/new/recommendations?limit=10").await.expect(200).json();
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["item_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = ask().await;
    server.client.post("/v1/events", &json!({"events": [event("x", "new", "i3")]})).await.expect(200);
    let after = ask().await;
    assert_ne!(before, after);
    let similar = server.client.get("/v1/items/i3/similar?limit=5").await.expect(200).json();
    assert_eq!(similar["items"].as_array().unwrap().len(), 5, "{similar}");
    assert!(similar["items"].as_array().unwrap().iter().all(|item| item["item_id"] != "i3"));
    let ranked = server.client.post("/v1/rank", &json!({"user_id": "new", "items": ["i8", "i1", "i13"]})).await;
    let ranked = ranked.expect(200).json();
    assert_eq!(ranked["items"].as_array().unwrap().len(), 3, "{ranked}");
    server.stop().await;
}

type Damage = fn(&Path);

/// Ways to break a generation, each on the folder of a good one.
fn corruptions() -> Vec<(&'static str, Damage)> {
    fn edit(path: PathBuf, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    }
    vec![
        ("a flipped bit in the factors", |folder| {
            edit(folder.join("item_factors.f32"), |bytes| *bytes.last_mut().unwrap() ^= 1);
        }),
        ("a truncated index", |folder| edit(folder.join("index.hnsw"), |bytes| bytes.truncate(bytes.len() / 2))),
        ("a missing encoder", |folder| std::fs::remove_file(folder.join("encoder.bin")).unwrap()),
        ("an edited manifest", |folder| edit(folder.join("manifest.json"), |bytes| bytes.push(b' '))),
        ("not a number, with a checksum that fits", |folder| {
            edit(folder.join("item_factors.f32"), |bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            });
            reseal(folder);
        }),
        ("a header of another dimension, with a checksum that fits", |folder| {
            edit(folder.join("item_ids"), |bytes| bytes.truncate(bytes.len() / 2));
            reseal(folder);
        }),
    ]
}

/// Makes manifest and checksums agree with the files again, as a broken trainer would.
fn reseal(folder: &Path) {
    let sum = |path: &Path| {
        let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        let name = folder.join(file["name"].as_str().unwrap());
        file["bytes"] = std::fs::metadata(&name).unwrap().len().into();
        file["sha256"] = sum(&name).into();
    }
    std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    std::fs::write(folder.join("manifest.sha256"), sum(&path)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_generation_is_refused_and_the_old_one_keeps_serving() {
    let server = start().await;
    let good = train_one(&server.project, true).await;
    until_serving(&server, good).await;
    for (what, corrupt) in corruptions() {
        let bad = train_one(&server.project, false).await;
        corrupt(&folder(&server.project, bad));

        // Over HTTP: refused before anything changes.
        let body = json!({ "version": bad });
        let answer = server.client.post("/v1/models/embeddings/promote", &body).await;
        assert_eq!(answer.status, 409, "{what}: {}", answer.text());
        println!("{what}: {}", answer.json()["detail"]);
        let model = server.client.get("/v1/models/embeddings").await.expect(200).json();
        assert_eq!((&model["champion"], &model["serving"]), (&json!(good), &json!(good)), "{what}");

        // Behind the server's back: noticed, refused, told.
        let current = server.project.path().join("data/generations/CURRENT");
        let pointer = std::fs::read_to_string(&current).unwrap();
        let mut changed: Value = serde_json::from_str(&pointer).unwrap();
        changed["champion"] = bad.into();
        std::fs::write(&current, changed.to_string()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let ready = server.client.get("/health/ready").await.expect(200).json();
            assert_eq!(ready["generation"]["version"], good, "{what}");
            if ready["refused_generation"]["reason"].is_string() {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: nobody noticed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = server.client.get("/v1/users/u1/recommendations").await.expect(200).json();
        assert_eq!(answer["generation"], good, "{what}");
        std::fs::write(&current, pointer).unwrap();
    }
    let metrics = server.client.get("/metrics").await.text();
    assert!(metrics.contains("tastemaker_generation_loads_total{result=\"refused\"}"));

    // A restart with a broken champion answers with the one before.
    let bad = train_one(&server.project, true).await;
    until_serving(&server, bad).await;
    let project = server.stop().await;
    std::fs::remove_file(folder(&project, bad).join("encoder.bin")).unwrap();
    let server = Running::of(project).await;
    let answer = server.client.get("/v1/users/u1/recommendations").await.expect(200).json();
    assert_eq!(answer["generation"], good);
    let ready = server.client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["refused_generation"]["version"], bad);
    assert!(!answer["items"].as_array().unwrap().is_empty());
    server.stop().await;
}

/// Waits until health tells of a refused generation, or of none.
async fn until_refused(server: &Running, version: Option<u64>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let ready = server.client.get("/health/ready").await.expect(200).json();
        if ready["refused_generation"]["version"].as_u64() == version {
            return;
        }
        assert!(Instant::now() < deadline, "{version:?} is not what is refused: {ready}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refusals(metrics: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with("tastemaker_generation_loads_total{result=\"refused\"}"));
    line.and_then(|line| line.split_whitespace().last()).map_or(0.0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_generation_is_taken_once_it_is_mended_and_forgotten_once_it_is_moot() {
    let server = start().await;
    let first = train_one(&server.project, true).await;
    until_serving(&server, first).await;
    let second = train_one(&server.project, false).await;
    let store = GenerationStore::open(config(&server.project).storage.generations_dir());
    let file = folder(&server.project, second).join("item_factors.f32");
    let good = std::fs::read(&file).unwrap();
    // Moot: the champion is the one that serves again.
    std::fs::write(&file, &good[..good.len() - 1]).unwrap();
    let current = store.dir().join("CURRENT");
    let pointer = std::fs::read_to_string(&current).unwrap();
    let mut changed: Value = serde_json::from_str(&pointer).unwrap();
    changed["champion"] = second.into();
    changed["previous"] = json!([first]);
    std::fs::write(&current, changed.to_string()).unwrap();
    until_refused(&server, Some(second)).await;
    let before = refusals(&server.client.get("/metrics").await.text());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(refusals(&server.client.get("/metrics").await.text()), before, "it is not refused again and again");
    assert_eq!(store.rollback().unwrap(), Version(first));
    until_refused(&server, None).await;

    // Mended in place, nothing else done.
    std::fs::write(&current, changed.to_string()).unwrap();
    until_refused(&server, Some(second)).await;
    std::fs::write(&file, &good).unwrap();
    until_serving(&server, second).await;
    until_refused(&server, None).await;

    // Back, and forth once more by an ordinary promotion.
    store.rollback().unwrap();
    until_serving(&server, first).await;
    store.promote(Version(second)).unwrap();
    until_serving(&server, second).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_are_listed_promoted_and_rolled_back() {
    let server = start().await;
    let first = train_one(&server.project, true).await;
    let second = train_one(&server.project, false).await;
    until_serving(&server, first).await;
    let body = json!({ "version": second });
    let model = server.client.post("/v1/models/embeddings/promote", &body).await.expect(200).json();
    assert_eq!((&model["champion"], &model["serving"]), (&json!(second), &json!(second)));
    if server.redis.is_some() {
        until_serving(&server, second).await;
    }
    let answer = server.client.get("/v1/users/u1/recommendations").await.expect(200).json();
    assert_eq!(answer["generation"], second, "it serves when the promotion is answered");
    let model =
        server.client.send(hyper::Method::POST, "/v1/models/embeddings/rollback", None).await.expect(200).json();
    assert_eq!(model["serving"], first);
    let models = server.client.get("/v1/models").await.expect(200).json();
    let generations = models["models"][0]["generations"].as_array().unwrap().clone();
    assert_eq!(generations.len(), 2);
    assert_eq!(generations[0]["champion"], true);
    assert!(generations[0]["manifest"]["lineage"]["config_hash"].is_string());
    server.stop().await;
}
