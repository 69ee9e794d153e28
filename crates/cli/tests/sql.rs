//! `tastemaker sql` as people use it, in a build that has it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the tests of the other verbs")]
#[path = "cli/support.rs"]
mod support;

use std::fs::File;
use std::io::Read;

use serde_json::json;
use support::{Ended, ITEMS, Project, USERS, signal, wait_until};

#[test]
fn a_query_is_a_table_for_people_and_json_lines_for_programs() {
    let project = Project::with_events();
    let by_parity = "select parity, count(*) as n, max(number) as most from items group by parity order by parity";
    assert_eq!(project.run(&["sql", by_parity]).ok(), "parity   n  most\neven    20  38.0\nodd     20  39.0\n");
    let lines = project.run(&["sql", by_parity, "--json"]).ok();
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows,
        [json!({"parity": "even", "n": 20, "most": 38.0}), json!({"parity": "odd", "n": 20, "most": 39.0})]
    );
}

#[test]
fn a_table_is_cut_and_says_so_while_json_is_whole() {
    let project = Project::with_events();
    let all = "select user_id from events";
    let table = project.run(&["sql", all]).ok();
    assert_eq!(table.lines().count(), 1 + 100 + 1);
    assert!(table.ends_with("There are more rows: see more with --limit, or all with --json or --out.\n"), "{table}");
    assert_eq!(project.run(&["sql", all, "--json"]).ok().lines().count(), 12 * USERS);
    assert_eq!(project.run(&["sql", all, "--json", "--limit", "7"]).ok().lines().count(), 7);
    let items = ITEMS.to_string();
    assert_eq!(project.run(&["sql", "select id from items", "--limit", &items]).ok().lines().count(), 1 + ITEMS);
}

#[test]
fn a_query_in_a_file_goes_to_a_parquet_file_that_can_be_imported() {
    let project = Project::with_events();
    project.write(
        "report.sql",
        "-- the even half\nselect id, title, number * 2 as number\nfrom items where parity = 'even';\n",
    );
    let wrote = project.run(&["sql", "--file", "report.sql", "--out", "out/report.parquet", "--json"]).json();
    let path = project.file("out/report.parquet");
    assert_eq!(wrote["rows"], 20);
    assert_eq!(wrote["bytes"], path.metadata().unwrap().len());
    let said = project.run(&["sql", "--file", "report.sql", "--out", "out/report.parquet"]).ok();
    assert!(said.starts_with("Wrote 20 rows to out/report.parquet ("), "{said}");
    let mut magic = [0; 4];
    File::open(&path).unwrap().read_exact(&mut magic).unwrap();
    assert_eq!(&magic, b"PAR1");
    project.run(&["import", "items", "out/report.parquet", "--quiet"]).ok();
    assert_eq!(
        project.run(&["sql", "select max(number) as m from items where parity = 'even'", "--json"]).ok(),
        "{\"m\":76.0}\n"
    );
}

#[test]
fn errors_say_where_and_what_was_meant() {
    let project = Project::with_events();
    let error = project.run(&["sql", "select id from itmes"]).failed(1);
    assert!(error.contains("line 1, column 16: there is no table 'itmes'; did you mean 'items'?"), "{error}");
    let error = project.run(&["sql", "drop table items", "--json"]).failed(1);
    assert!(serde_json::from_str::<serde_json::Value>(&error).unwrap()["error"].as_str().unwrap().contains("DROP"));
    let error = project.run(&["sql", "--file", "none.sql"]).failed(1);
    assert!(error.contains("none.sql"), "{error}");
    let error = project.run(&["sql", "select 1", "--memory", "much"]).failed(2);
    assert!(error.contains("512KiB, 8MiB or 1GiB"), "{error}");
    let error = project.run(&["sql", "select title from items order by title", "--memory", "1KiB"]).failed(1);
    assert!(error.contains("1024 bytes of memory"), "{error}");
    let error = Project::new().run(&["sql", "select 1"]).failed(1);
    assert!(error.contains("there is no event log"), "{error}");
    project.run(&["sql"]).failed(2);
    project.run(&["sql", "select 1", "--file", "report.sql"]).failed(2);
}

#[test]
fn ctrl_c_ends_a_query_that_would_not() {
    let project = Project::with_events();
    let endless = "select count(*) from generate_series(1, 4000000000000) a join events on a.value % 7 < 9";
    let child = project.spawn(&["sql", endless, "--out", "out.parquet"]);
    wait_until("the file", || project.file("out.parquet.partial").exists());
    signal(&child, "INT");
    let error = Ended::new(child.wait_with_output().unwrap()).failed(130);
    assert_eq!(error, "error: the query was cancelled\n");
    let left: Vec<_> = project.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("out.")), "{left:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::with_events();
    let mut child = project.spawn(&["sql", "select * from generate_series(1, 3000000)", "--json"]);
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

const FEATURES: &str = r#"
[[features]]
entity = "user"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "user"
name = "latest"
aggregate = "last_k"
k = 2

[[features]]
entity = "item"
name = "clicked"
aggregate = "count"
events = ["click"]

[[features]]
entity = "pair"
name = "times"
aggregate = "count"
events = ["click"]

[[feature_views]]
name = "habits"
entity = "user"
query = """
select user_id, count(distinct item_id) as number, arrow_typeof(max(timestamp)) as kind from events group by user_id
"""
features = { number = "number", kind = "text" }
"#;

fn with_features(more: &str) -> Project {
    let project = Project::with_events();
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    project.write("tastemaker.toml", &(settings + FEATURES + more));
    project
}

fn rows(ended: Ended) -> Vec<serde_json::Value> {
    ended.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows read, written and unchanged.
fn materialize(project: &Project, arguments: &[&str]) -> (u64, u64, u64) {
    let run = project.run(&[&["features", "materialize", "--json"], arguments].concat()).json();
    let view = run["views"].as_array().unwrap().last().unwrap().clone();
    let number = |name: &str| view[name].as_u64().unwrap();
    (number("rows"), number("written"), number("unchanged"))
}

#[test]
fn features_are_tables_with_the_values_of_online_reads() {
    let project = with_features("");
    let query = |sql: &str| rows(project.run(&["sql", sql, "--json"]));
    let counted = "select entity, feature, count(*) as n, sum(number) as sum from features group by 1, 2 order by 1, 2";
    let expected = [
        json!({"entity": "item", "feature": "clicked", "n": ITEMS, "sum": 720.0}),
        json!({"entity": "pair", "feature": "times", "n": 720, "sum": 720.0}),
        json!({"entity": "user", "feature": "clicks", "n": USERS, "sum": 720.0}),
        json!({"entity": "user", "feature": "latest", "n": USERS, "sum": null}),
    ];
    assert_eq!(query(counted), expected);
    let got = project.run(&["features", "get", "--user", "u7", "clicks", "latest", "--json"]).json();
    let of_user = query(
        "select value, status, event_timestamp from features where user_id = 'u7' and entity = 'user' order by feature",
    );
    for (feature, row) in got["features"].as_array().unwrap().iter().zip(&of_user) {
        let value = &feature["values"][0];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!((row["value"].as_str(), &row["status"]), (Some(text.as_str()), &feature["statuses"][0]));
        assert_eq!(row["event_timestamp"], feature["event_timestamps"][0]);
    }
    assert_eq!(
        query("select clicks + 1 as more, array_length(latest) as n from user_features where user_id = 'u7'"),
        [json!({"more": 13.0, "n": 2})]
    );
    assert_eq!(
        query("select count(*) as n, min(f.clicked) as least from item_features f join items i on i.id = f.item_id"),
        [json!({"n": ITEMS, "least": 18.0})]
    );
    assert_eq!(query("select sum(times) as n from pair_features where user_id = 'u7'"), [json!({"n": 12.0})]);
    let described = project.run(&["sql", "describe user_features"]).ok();
    assert!(described.contains("clicks") && described.contains("kind") && described.contains("Float64"), "{described}");
    let error = project.run(&["sql", "select * from features", "--memory", "1KiB"]).failed(1);
    assert!(error.contains("1024 bytes of memory") && error.contains("the table features"), "{error}");
}

#[test]
fn a_view_that_is_a_query_is_brought_in_once_and_again_when_it_says_something_else() {
    let project = with_features("");
    assert_eq!(materialize(&project, &[]), (60, 60, 0));
    assert_eq!(materialize(&project, &[]), (60, 0, 60), "the moment of the run alone is nothing new");
    assert_eq!(materialize(&project, &["--full", "--view", "habits"]), (60, 0, 60));
    let got =
        |name: &str| project.run(&["features", "get", "--user", "u3", name, "--json"]).json()["features"][0].clone();
    let (number, kind) = (got("number"), got("kind"));
    assert_eq!((&number["values"][0], &number["statuses"][0]), (&json!(12), &json!("PRESENT")));
    assert!(kind["values"][0].as_str().unwrap().starts_with("Timestamp("), "{kind}");

    project.write("more.csv", "user,item,timestamp\nu3,i0,2024-01-01\n");
    project.run(&["import", "events", "more.csv", "--type", "click"]).ok();
    assert_eq!(materialize(&project, &[]), (60, 1, 59));
    assert_eq!(got("number")["values"][0], json!(13));
    let left: Vec<_> = project.file("data").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "materializing"), "the answer is removed: {left:?}");

    // Before the runs nothing was known, and a model is to learn just that. Written features come back in as attributes, to be seen.
    project.write("at.csv", "user_id,timestamp,item\nu3,2024-01-02,old\nu3,2999-01-01,new\n");
    let at = ["features", "historical", "--entities", "at.csv", "--features", "number", "--out", "at.parquet"];
    project.run(&at).ok();
    project.run(&["import", "items", "at.parquet", "--quiet"]).ok();
    let found = project.run(&["sql", "select id, number from items where id in ('old', 'new') order by id", "--json"]);
    assert_eq!(rows(found), [json!({"id": "new", "number": 13.0}), json!({"id": "old", "number": null})]);
}

#[test]
fn times_of_the_query_count_and_a_ttl_is_renewed_by_every_run() {
    let project = with_features(
        r#"
[[feature_views]]
name = "timed"
entity = "item"
query_file = "timed.sql"
event_time_column = "latest"
features = { events = "number" }

[[feature_views]]
name = "fresh"
entity = "pair"
ttl = "1h"
query = "select user_id, item_id, count(*) as visits from events group by 1, 2"
features = { visits = "number" }
"#,
    );
    project.write(
        "timed.sql",
        "select item_id, max(timestamp) as latest, count(*) as events from events group by item_id",
    );
    assert_eq!(materialize(&project, &["--view", "timed"]), (40, 40, 0));
    assert_eq!(materialize(&project, &["--view", "timed"]), (40, 0, 40));
    let of_item = project.run(&["features", "get", "--item", "i4", "events", "--json"]).json()["features"][0].clone();
    let times = rows(project.run(&["sql", "select max(timestamp) as t from events where item_id = 'i4'", "--json"]));
    assert_eq!(of_item["event_timestamps"][0], times[0]["t"]);

    assert_eq!(materialize(&project, &["--view", "fresh"]), (720, 720, 0));
    assert_eq!(materialize(&project, &["--view", "fresh"]), (720, 720, 0), "without it they would expire");
    // Features are tables for the query of another view, and of the same.
    let sum = "select sum(visits) as n from pair_features where user_id = 'u9'";
    assert_eq!(rows(project.run(&["sql", sum, "--json"])), [json!({"n": 12.0})]);
}

#[test]
fn a_query_that_does_not_fit_its_view_says_what_to_change() {
    let view = |query: &str| {
        let project = with_features(&format!(
            "\n[[feature_views]]\nname = \"v\"\nentity = \"user\"\nfeatures = {{ visits = \"number\" }}\nquery = \"{query}\"\n"
        ));
        let error = project.run(&["features", "materialize", "--view", "v"]).failed(1);
        assert!(error.contains("the query of the feature view 'v'"), "{error}");
        assert!(!project.file("data/materializing/v.parquet").exists());
        error
    };
    let error = view("select user_id, count(*) as visit from events group by 1");
    assert!(error.contains("has no column 'visits' for the number 'visits'; did you mean 'visit'?"), "{error}");
    let error = view("select user_id, 'x' as visits from events");
    assert!(
        error.contains("column 'visits' for the number 'visits' holds text") && error.contains("declare it as text"),
        "{error}"
    );
    let error = view("select count(*) as visits from events");
    assert!(error.contains("no column 'user_id' for the key 'user_id'"), "{error}");
    let error = view("select user_id, 1 as visits, 5 as event_timestamp from events");
    assert!(error.contains("a number does not say its unit"), "{error}");
    let error = view("select user_id, nvisits from events");
    assert!(error.contains("line 1, column 17"), "{error}");
    let error = view("select user_id, 1 as visits, 2 as visits from events");
    assert!(error.contains("visits"), "{error}");
    view("drop table events");
}

#[test]
fn a_run_that_was_broken_off_goes_on_with_the_answer_it_had() {
    let project = with_features("");
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let through = ["--url", &format!("http://{address}")];
    project.run(&[&["features", "materialize"], &through[..]].concat()).failed(1);
    assert!(project.file("data/materializing/habits.parquet").exists());
    project.write("more.csv", "user,item,timestamp\nu3,i0,2024-01-01\n");
    project.run(&["import", "events", "more.csv", "--type", "click"]).ok();
    let number = || {
        project.run(&["features", "get", "--user", "u3", "number", "--json"]).json()["features"][0]["values"][0].clone()
    };
    // Now there is a server.
    let server = project.spawn(&["serve", "--listen", &address.to_string()]);
    wait_until("the server", || std::net::TcpStream::connect(address).is_ok());
    assert_eq!(materialize(&project, &through), (60, 60, 0));
    assert_eq!(number(), json!(12), "what it said before");
    assert_eq!(materialize(&project, &through), (60, 1, 59));
    assert_eq!(number(), json!(13), "and then anew");
    signal(&server, "TERM");
    assert!(server.wait_with_output().unwrap().status.success());
}

#[test]
fn ctrl_c_ends_the_query_of_a_view() {
    let endless = "select user_id, sum(a.value) as x from generate_series(1, 4000000000000) a join events on a.value % 7 < 9 group by 1";
    let project = with_features(&format!(
        "\n[[feature_views]]\nname = \"slow\"\nentity = \"user\"\nfeatures = {{ x = \"number\" }}\nquery = \"{endless}\"\n"
    ));
    let child = project.spawn(&["features", "materialize", "--view", "slow"]);
    wait_until("the file", || project.file("data/materializing/slow.parquet.partial").exists());
    signal(&child, "INT");
    let ended = Ended::new(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(130), ""));
    assert!(ended.stdout.contains("Interrupted. What is in stays in"), "{}", ended.stdout);
    assert_eq!(project.file("data/materializing").read_dir().unwrap().count(), 0);
}
