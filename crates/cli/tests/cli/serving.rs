//! A running server, and the other verbs beside it.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use crate::support::{Ended, Project, signal, wait_until};

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(project: &Project) -> Self {
        Self::start_with(project, &[])
    }

    fn start_with(project: &Project, settings: &[&str]) -> Self {
        let mut child = project.spawn(&[&["serve", "--listen", "127.0.0.1:0"], settings].concat());
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect(&line).to_owned();
        let server = Self { child, url };
        wait_until("readiness", || ureq::get(format!("{}/health/ready", server.url)).call().is_ok());
        server
    }

    fn get(&self, path: &str) -> serde_json::Value {
        ureq::get(format!("{}{path}", self.url)).call().unwrap().body_mut().read_json().unwrap()
    }

    fn stop(mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        let status = self.child.wait().unwrap().code();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(!stderr.contains("ERROR") && !stderr.contains("panicked"), "{stderr}");
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_table_that_still_has_a_deleted_user_does_not_bring_them_back_through_a_server() {
    let project = crate::features_offline::project();
    let historical = ["features", "historical", "--entities", "rows.csv", "--features", "clicks"];
    project.run(&[&historical[..], &["--out", "worth.parquet"]].concat()).ok();
    let server = Server::start(&project);
    let materialize = |arguments: &[&str]| {
        let fixed = ["features", "materialize", "--json", "--url", &server.url];
        let run = project.run(&[&fixed, arguments].concat()).json();
        (run["views"][0]["rows"].as_u64().unwrap(), run["views"][0]["written"].as_u64().unwrap())
    };
    let worth = || {
        let body = serde_json::json!({"entities": {"user": ["u0", "u1"]}, "features": ["worth:worth"]});
        let url = format!("{}/v1/features/online", server.url);
        let answer: serde_json::Value = ureq::post(url).send_json(&body).unwrap().body_mut().read_json().unwrap();
        (answer["features"][0]["values"].clone(), answer["features"][0]["statuses"].clone())
    };
    let both = (serde_json::json!([2.5, 7]), serde_json::json!(["PRESENT", "PRESENT"]));
    assert_eq!(materialize(&[]), (2, 2), "the newest row of each user");
    assert_eq!(worth(), both);
    assert_eq!(materialize(&[]), (0, 0), "nothing is newer");

    ureq::delete(format!("{}/v1/users/u0", server.url)).call().unwrap();
    let one = (serde_json::json!([null, 7]), serde_json::json!(["NOT_FOUND", "PRESENT"]));
    assert_eq!(worth(), one);
    assert_eq!(materialize(&["--full"]).0, 2, "every row is read again, also those of whoever was deleted");
    assert_eq!(worth(), one);
    assert_eq!(server.stop(), Some(0));

    // Nor does what the log has now bring them back, when it is read again or looked at by others.
    let server = Server::start(&project);
    let said = project.run(&["features", "get", "--user", "u0", "worth:worth", "--json"]).json();
    assert_eq!(said["features"][0]["statuses"], serde_json::json!(["NOT_FOUND"]));
    let known = project.run(&["features", "get", "--user", "u1", "worth:worth", "--json"]).json();
    assert_eq!(known["features"][0]["values"], serde_json::json!([7]));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn other_verbs_work_beside_a_running_server() {
    let project = Project::with_events();
    let server = Server::start(&project);

    // The log has one writer, and the error says how to go through it.
    project.write("more.csv", "user,item,timestamp,type\nnew,i3,1701000000,click\nnew,i5,1701000001,click\n");
    let error = project.run(&["import", "events", "more.csv"]).failed(1);
    assert!(error.contains("already open for writing") && error.contains("--url http://"), "{error}");
    let through = |file| project.run(&["import", "events", file, "--url", &server.url, "--json"]).json();
    let report = through("more.csv");
    assert_eq!((&report["written"], &report["duplicates"]), (&2.into(), &0.into()));
    let report = through("more.csv");
    assert_eq!((&report["written"], &report["duplicates"]), (&0.into(), &2.into()));

    // Training beside it, and the server picks the generation up.
    assert!(server.get("/v1/users/u2/recommendations")["generation"].is_null());
    project.run(&["train"]).ok();
    wait_until("the switch", || server.get("/v1/users/u2/recommendations")["generation"] == 1);
    let answer = project.run(&["recommend", "--user", "new", "--json"]).json();
    let ids: Vec<&str> = answer["items"].as_array().unwrap().iter().map(|i| i["item_id"].as_str().unwrap()).collect();
    assert!(!ids.contains(&"i3") && !ids.contains(&"i5"), "{ids:?}");
    let doctor = project.run(&["doctor"]);
    assert!(doctor.stdout.contains("writes to the event log"), "{}", doctor.stdout);
    assert_eq!(server.stop(), Some(0));
    assert!(project.run(&["import", "events", "more.csv"]).ok().contains("0 events imported, 2 were there already"));
}

#[test]
fn a_large_file_goes_through_a_server_in_requests_that_it_takes() {
    let project = Project::new();
    let item = |n: usize| format!("{{\"id\":\"i{n}\",\"title\":\"{}\"}}\n", "t".repeat(20_000));
    project.write("items.jsonl", &(0..1_500).map(item).collect::<String>());
    // The file is larger than a server takes at once, and this one takes less than is usual, in bytes and in records.
    let limits = ["--set", "server.body_limit=\"3MiB\"", "--set", "server.batch_limit=100"];
    for limits in [&[][..], &limits] {
        let server = Server::start_with(&project, limits);
        let report = project.run(&["import", "items", "items.jsonl", "--url", &server.url, "--json"]).json();
        assert_eq!((&report["written"], &report["refused_by_server"]), (&1_500.into(), &0.into()));
        assert_eq!(server.get("/health/ready")["items"], 1_500);
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn rows_of_a_table_go_through_a_server_that_takes_less_at_once_than_is_usual() {
    let project = crate::features_offline::project();
    let rows: String = (0..50).map(|n| format!("u{n},2023-11-20,{n}\n")).collect();
    project.write("rows.csv", &format!("user_id,timestamp,worth\n{rows}"));
    let historical = ["features", "historical", "--entities", "rows.csv", "--features", "clicks"];
    project.run(&[&historical[..], &["--out", "worth.parquet"]].concat()).ok();
    let server = Server::start_with(&project, &["--set", "server.body_limit=\"1KiB\""]);
    let run = project.run(&["features", "materialize", "--json", "--url", &server.url]).json();
    assert_eq!((&run["views"][0]["rows"], &run["views"][0]["written"]), (&50.into(), &50.into()));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_taken_port_and_an_open_address_are_refused() {
    let project = Project::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = project.run(&["serve", "--listen", &address]).failed(1);
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    let ended: Ended = project.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("API keys"), "{}", ended.stderr);
}
