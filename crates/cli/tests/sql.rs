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
