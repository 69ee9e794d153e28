//! Importing: what is taken, what is refused, what is there already.

use crate::support::{Project, events, items};

#[test]
fn importing_twice_imports_once() {
    let project = Project::new();
    project.write("items.csv", &items());
    project.write("events.csv", &events());
    let import = |kind: &str| {
        let file = format!("{kind}.csv");
        let mut arguments = vec!["import", kind, file.as_str(), "--json"];
        if kind == "events" {
            arguments.extend(["--type", "click"]);
        }
        let report = project.run(&arguments).json();
        (report["written"].as_u64().unwrap(), report["duplicates"].as_u64().unwrap())
    };
    assert_eq!([import("items"), import("events")], [(40, 0), (720, 0)]);
    assert_eq!([import("items"), import("events")], [(0, 40), (0, 720)]);
    project.write("items.csv", "item,title\ni0,A new title\ni1,Number 1\n");
    assert_eq!(import("items"), (1, 1), "only what changes is written");
}

#[test]
fn a_bad_row_is_reported_and_does_not_stop_the_good_ones() {
    let project = Project::new();
    project.write("mixed.csv", "user,item,timestamp,type\nu,a,2024-01-01,click\nu,b,yesterday,click\nu,c,2024-01-01,clack\n,d,2024-01-01,click\nu,e,1704067200,purchase\n");
    let imported = project.run(&["import", "events", "mixed.csv", "--report", "report.json"]).ok();
    assert!(imported.starts_with("mixed.csv: 2 events imported, 3 rows refused"), "{imported}");
    assert!(imported.contains("line 3") && imported.contains("'yesterday' is not a time"), "{imported}");
    assert!(imported.contains("did you mean 'click'?"), "{imported}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(project.file("report.json")).unwrap()).unwrap();
    assert_eq!((&report["accepted"], &report["refused"]), (&2.into(), &3.into()));
    assert_eq!(report["refusals"][0]["line"], 3);
}

#[test]
fn columns_are_named_by_flags() {
    let project = Project::new();
    project.write("odd.tsv", "buyer\tsku\tpaid\twhen\nu\ta\t9.5\t1704067200000\n");
    let arguments =
        ["--user", "buyer", "--item", "sku", "--value", "paid", "--timestamp", "when", "--type", "purchase"];
    let report = project.run(&[&["import", "events", "odd.tsv", "--json"], &arguments[..]].concat()).json();
    assert_eq!(report["written"], 1);
    project.write("goods.jsonl", "{\"sku\": \"a\", \"name\": \"A thing\"}\n");
    let arguments = ["import", "items", "goods.jsonl", "--id", "sku", "--attribute", "title=name", "--json"];
    assert_eq!(project.run(&arguments).json()["written"], 1);
    let error = project.run(&["import", "items", "goods.jsonl", "--attribute", "titel=name"]).failed(1);
    assert!(error.contains("did you mean 'title'?"), "{error}");
}

#[test]
fn a_file_of_nothing_but_bad_rows_fails() {
    let project = Project::new();
    project.write("bad.csv", "user,item,timestamp\nu,a,never\n");
    let ended = project.run(&["import", "events", "bad.csv", "--type", "click"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_imported_at_all_says_why() {
    let project = Project::new();
    assert!(project.run(&["import", "events", "nowhere.csv"]).failed(1).contains("cannot open nowhere.csv"));
    project.write("events.csv", &events());
    let error = project.run(&["import", "events", "events.csv", "--type", "clik"]).failed(1);
    assert!(error.contains("unknown event type 'clik'; did you mean 'click'?"), "{error}");
    project.write("strange.csv", "colour,size\nred,1\n");
    let error = project.run(&["import", "events", "strange.csv", "--type", "click"]).failed(1);
    assert!(error.contains("colour"), "{error}");
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let project = Project::new();
    project.write("evil.csv", "user,item,timestamp,type\nu,a,\u{1b}[2Jnow,click\nu,b,2024-01-01,click\n");
    let imported = project.run(&["import", "events", "evil.csv"]).ok();
    assert!(!imported.contains('\u{1b}') && imported.contains("\\u{1b}[2Jnow"), "{imported:?}");
}
