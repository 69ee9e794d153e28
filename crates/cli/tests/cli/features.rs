//! `features`: what is declared and what its values are, at the terminal.

use serde_json::{Value, json};

use crate::support::Project;

const SETTINGS: &str = r#"
[items.attributes]
price = "number"

[recommend.context]
device = "tag"

[[features]]
entity = "user"
name = "click_count"
aggregate = "count"
events = ["click"]
description = "Clicks since ever"

[[features]]
entity = "pair"
name = "on_phone"
expression = "context.device = 'phone'"

[[feature_views]]
name = "worth"
entity = "user"
features = { lifetime_value = "number" }
ttl = "7d"

[feature_services]
ranking = ["click_count", "on_phone"]
"#;

fn project() -> Project {
    let project = Project::empty();
    project.write("tastemaker.toml", SETTINGS);
    project.write("events.csv", "user,item,timestamp\nann,tea,1700000000\nann,pot,1700000060\n");
    project.run(&["import", "events", "events.csv", "--type", "click"]).ok();
    project
}

#[test]
fn declared_features_are_listed() {
    let project = project();
    let text = project.run(&["features", "list"]).ok();
    for part in
        ["user.click_count", "Clicks since ever", "pair.on_phone", "expression", "worth", "1w", "service ranking"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let list = project.run(&["features", "list", "--json"]).json();
    assert_eq!(list["features"][2]["name"], "click_count");
    assert_eq!(list["feature_services"][0]["features"], json!(["click_count", "on_phone"]));
}

#[test]
fn values_are_read_beside_no_server() {
    let project = project();
    let text = project.run(&["features", "get", "--user", "ann"]).ok();
    let line = text.lines().find(|line| line.starts_with("user.click_count")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["user.click_count", "2", "PRESENT", "2023-11-14T22:14:20Z"]);
    assert!(!text.contains("pair."), "no item was given:\n{text}");
    let answer = project.run(&["features", "get", "--user", "nobody", "click_count", "--json"]).json();
    assert_eq!(answer["features"][0]["statuses"], json!(["NOT_FOUND"]));
    let both =
        ["features", "get", "--user", "ann", "--item", "tea", "--service", "ranking", "--context", "device=phone"];
    let answer = project.run(&[&both[..], &["--json"]].concat()).json();
    let values: Vec<&Value> = answer["features"].as_array().unwrap().iter().map(|f| &f["values"][0]).collect();
    assert_eq!(values, [&json!(2), &json!(true)]);
}

#[test]
fn a_wrong_name_is_told_with_the_right_one() {
    let project = project();
    let message = project.run(&["features", "get", "--user", "ann", "clik_count"]).failed(1);
    assert!(message.contains("did you mean 'click_count'?"), "{message}");
    let message = project.run(&["features", "get", "click_count"]).failed(1);
    assert!(message.contains("--user ID"), "{message}");
}
