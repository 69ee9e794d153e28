//! The real server process and signals.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tastemaker_testkit::{Project, ServerProcess};

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tastemaker"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_fails_no_request_and_ends_well() {
    let project = Project::new("");
    let mut server = ServerProcess::start(binary(), &project.file(), &project.path().join("server.log")).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (client, answered) = (server.client(), Arc::clone(&answered));
            tokio::spawn(async move {
                for n in 0.. {
                    let event = json!({"event_id": format!("{worker}-{n}"), "type": "click", "user_id": "u", "item_id": format!("i{n}")});
                    let body = Some(("application/json", json!({"events": [event]}).to_string().into()));
                    match client.try_send(hyper::Method::POST, "/v1/events", body).await {
                        Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
                        Err(error) if error.is_connect() => return,
                        Err(error) => panic!("a request failed: {error:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.terminate();
    let status = server.wait(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}");
    for worker in workers {
        worker.await.unwrap();
    }
    let mut server = ServerProcess::start(binary(), &project.file(), &project.path().join("server.log")).await;
    let ready = server.client().get("/health/ready").await.expect(200).json();
    assert_eq!(ready["log"]["applied"].as_u64().unwrap(), answered.load(Ordering::Relaxed) as u64);
    server.terminate();
    assert!(server.wait(Duration::from_secs(30)).await.success());
}

/// One request on a connection of its own, whose head is late by `pause`; none if nobody listens.
fn ask(address: &str, pause: Duration) -> Option<std::io::Result<String>> {
    use std::io::{ErrorKind, Read, Write};
    let mut stream = match std::net::TcpStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
        other => other.unwrap(),
    };
    std::thread::sleep(pause);
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    Some(asked.and_then(|()| stream.read_to_string(&mut answer)).map(|_| answer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_fresh_connections_are_answered_or_find_nobody_however_often_it_stops() {
    let project = Project::new("");
    let mut answered = 0;
    for _ in 0..5 {
        let mut server = ServerProcess::start(binary(), &project.file(), &project.path().join("server.log")).await;
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let address = server.address().to_owned();
                // Some ask late: the listener may have closed meanwhile.
                let pause = Duration::from_millis(if client < 4 { 0 } else { 150 * (client - 3) });
                std::thread::spawn(move || {
                    let mut answered = 0;
                    while let Some(answer) = ask(&address, pause) {
                        let answer = answer.unwrap_or_else(|error| panic!("after a pause of {pause:?}: {error}"));
                        assert!(answer.starts_with("HTTP/1.1 200"), "after a pause of {pause:?}: {answer:?}");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.terminate();
        assert!(server.wait(Duration::from_secs(30)).await.success());
        answered += clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>();
    }
    println!("{answered} requests on connections of their own, none failed");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_says_why() {
    let project = Project::new("");
    let server = ServerProcess::start(binary(), &project.file(), &project.path().join("server.log")).await;
    let second = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(project.file())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&format!("process {}", server.pid())), "{said}");
}
