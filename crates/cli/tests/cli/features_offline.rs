//! `features historical`, `materialize` and `validate`.

use serde_json::json;

use crate::support::Project;

const FEATURES: &str = r#"
[[features]]
entity = "user"
name = "clicks"
aggregate = "count"
events = ["click"]

[[features]]
entity = "item"
name = "clicked"
aggregate = "count"
events = ["click"]

[[feature_views]]
name = "worth"
entity = "user"
path = "worth.parquet"
event_time_column = "timestamp"
features = { worth = "number" }
"#;

/// A project with a view of users, and rows that a table can be made of.
pub(crate) fn project() -> Project {
    let project = Project::with_events();
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    project.write("tastemaker.toml", &(settings + FEATURES));
    project.write(
        "rows.csv",
        "user_id,item_id,timestamp,worth\nu0,i0,2023-11-14,1.5\nu0,i0,2023-11-20,2.5\nu1,i0,2023-11-20,7\n",
    );
    project
}

#[test]
fn features_of_a_file_of_rows_can_be_brought_back_in_as_a_table() {
    let project = project();
    let written = project
        .run(&[
            "features",
            "historical",
            "--entities",
            "rows.csv",
            "--features",
            "clicks,clicked",
            "--out",
            "worth.parquet",
            "--json",
        ])
        .json();
    assert_eq!((&written["rows"], &written["features"]), (&json!(3), &json!(2)));

    // The table of the view is found beside the project file, from wherever the command is run.
    let materialize = |arguments: &[&str]| {
        let run = project.run(&[&["features", "materialize", "--json"], arguments].concat()).json();
        let view = &run["views"][0];
        (view["rows"].as_u64().unwrap(), view["written"].as_u64().unwrap(), view["unchanged"].as_u64().unwrap())
    };
    assert_eq!(materialize(&[]), (2, 2, 0), "the newest row of each user");
    assert_eq!(materialize(&[]), (0, 0, 0), "nothing is newer");
    assert_eq!(materialize(&["--full"]), (2, 0, 2), "and nothing is new");
    let said = project.run(&["features", "materialize", "--full"]).ok();
    assert!(said.starts_with("worth: 0 rows written, 2 were there already"), "{said}");
    std::fs::remove_file(project.file("data/materialized.json")).unwrap();
    assert_eq!(materialize(&[]), (2, 0, 2), "without the file all is read, and still nothing is new");

    // A feature that is added to the view is brought in of all rows.
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    project.write(
        "tastemaker.toml",
        &settings
            .replace("{ worth = \"number\" }", "{ worth = \"number\", clicks = \"number\" }")
            .replace("name = \"clicks\"", "name = \"all_clicks\""),
    );
    assert_eq!(materialize(&[]), (2, 2, 0), "their values are others now");
    assert_eq!(materialize(&[]), (0, 0, 0));
    project.write("tastemaker.toml", &settings);

    let all = project.run(&["features", "historical", "--entities", "rows.csv", "--out", "all.arrow", "--statuses"]);
    let error = all.failed(1);
    assert!(error.contains("two columns 'worth'"), "{error}");
    let one = ["features", "historical", "--entities", "worth.parquet", "--features", "worth:worth"];
    let error = project.run(&[&one[..], &["--out", "again.parquet"]].concat()).failed(1);
    assert!(error.contains("rename"), "{error}");
}

#[test]
fn rows_that_come_later_with_the_time_of_the_newest_are_brought_in() {
    let project = project();
    let materialize = |rows: &str| {
        project.write("rows.csv", &format!("user_id,timestamp,worth\n{rows}"));
        let _ = std::fs::remove_file(project.file("worth.parquet"));
        let table = ["--entities", "rows.csv", "--features", "clicks", "--out", "worth.parquet"];
        project.run(&[&["features", "historical"], &table[..]].concat()).ok();
        let run = project.run(&["features", "materialize", "--json"]).json();
        (run["views"][0]["written"].clone(), run["views"][0]["unchanged"].clone())
    };
    assert_eq!(materialize("u0,2023-11-20,1\n"), (json!(1), json!(0)));
    assert_eq!(materialize("u0,2023-11-20,1\nu1,2023-11-20,2\n"), (json!(1), json!(1)));
    let again = project.run(&["features", "materialize", "--json"]).json();
    assert_eq!(again["views"][0]["rows"], 0, "files that have not changed have no more");
    // The rows do not say when they were created, so one of an older time may have come just now.
    let late = "u0,2023-11-20,1\nu1,2023-11-20,2\nu2,2023-11-01,3\n";
    assert_eq!(materialize(late), (json!(1), json!(2)));

    // Another table, and a log that has lost what was written, begin anew.
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    std::fs::rename(project.file("worth.parquet"), project.file("moved.parquet")).unwrap();
    project.write("tastemaker.toml", &settings.replace("worth.parquet", "moved.parquet"));
    let again = || {
        let run = project.run(&["features", "materialize", "--json"]).json();
        (run["views"][0]["written"].clone(), run["views"][0]["unchanged"].clone())
    };
    assert_eq!(again(), (json!(0), json!(3)));
    assert_eq!(again(), (json!(0), json!(0)));
    std::fs::remove_dir_all(project.file("data/log")).unwrap();
    assert_eq!(again(), (json!(3), json!(0)));
}

#[test]
fn only_one_materializes_at_a_time() {
    let project = project();
    std::fs::create_dir_all(project.file("data")).unwrap();
    let lock = std::fs::File::create(project.file("data/materialized.lock")).unwrap();
    lock.lock().unwrap();
    let error = project.run(&["features", "materialize"]).failed(1);
    assert!(error.contains("another `tastemaker features materialize`"), "{error}");
}

#[test]
fn a_view_that_fails_is_named_and_does_not_stop_the_others() {
    let project = project();
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    let gone = |name: &str| {
        format!(
            "[[feature_views]]\nname = \"{name}\"\nentity = \"user\"\npath = \"{name}.parquet\"\nfeatures = {{ {name} = \"number\" }}\n"
        )
    };
    let settings = settings.replace("[[feature_views]]", &format!("{}[[feature_views]]", gone("gone")));
    project.write("tastemaker.toml", &settings);
    let table = ["--entities", "rows.csv", "--features", "clicks", "--out", "worth.parquet"];
    project.run(&[&["features", "historical"], &table[..]].concat()).ok();
    let ended = project.run(&["features", "materialize"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.starts_with("worth: 2 rows written"), "{}", ended.stdout);
    assert!(
        ended.stderr.starts_with("error: the feature view 'gone' was not brought in: no Parquet"),
        "{}",
        ended.stderr
    );
    project.write("tastemaker.toml", &(settings + &gone("lost")));
    let ended = project.run(&["features", "materialize"]);
    let named = |name: &str| ended.stderr.lines().any(|line| line.contains(&format!("'{name}' was not brought in")));
    assert!(ended.status == Some(1) && named("gone") && named("lost"), "{}", ended.stderr);
}

#[test]
fn left_out_features_are_those_that_the_rows_have_keys_for() {
    let project = project();
    project.write("items.csv", "item_id,timestamp\ni0,2023-11-20\n");
    let written = |file: &str| {
        project.run(&["features", "historical", "--entities", file, "--out", "out.parquet", "--json"]).json()
    };
    assert_eq!(written("items.csv")["features"], 1, "clicked; clicks and worth are of users");
}

#[test]
fn a_validation_without_logged_values_says_so_and_writes_its_metrics() {
    let project = project();
    project
        .run(&["features", "historical", "--entities", "rows.csv", "--features", "clicks", "--out", "worth.parquet"])
        .ok();
    let said = project.run(&["features", "validate", "--metrics", "features.prom"]).ok();
    assert!(said.starts_with("Nothing was compared (0 answers, 0 of them with values)"), "{said}");
    let metrics = std::fs::read_to_string(project.file("features.prom")).unwrap();
    assert!(metrics.contains("# TYPE tastemaker_feature_validation_mismatches gauge\n"), "{metrics}");
    let served = project.run(&[
        "features",
        "historical",
        "--served",
        "--features",
        "clicks",
        "--out",
        "served.parquet",
        "--json",
    ]);
    assert_eq!(served.json()["rows"], 0);
}

#[test]
fn mistakes_name_a_remedy() {
    let project = project();
    let historical = |arguments: &[&str]| {
        let fixed: &[&str] = &["features", "historical", "--out", "out.parquet"];
        project.run(&[fixed, arguments].concat())
    };
    let error = historical(&["--entities", "rows.csv", "--features", "click"]).failed(1);
    assert!(error.contains("did you mean 'clicks'?"), "{error}");
    let error = historical(&["--entities", "rows.csv", "--features", "worth:worth"]).failed(1);
    assert!(error.contains("no Parquet file at"), "{error}");
    let error = historical(&["--requests", "rows.csv", "--features", "clicks"]).failed(1);
    assert!(error.contains("has no column 'request_id'"), "{error}");
    assert!(historical(&[]).failed(2).contains("--entities"));
    let error = project.run(&["features", "materialize", "--view", "wort"]).failed(1);
    assert!(error.contains("did you mean 'worth'?"), "{error}");
    let run = project.run(&["features", "validate", "--sample", "0", "--at-least", "1"]);
    assert!(run.status == Some(1) && run.stdout.starts_with("Nothing was compared"), "{}", run.stdout);
    assert!(run.stderr.contains("0 values were compared, and --at-least asks for 1"), "{}", run.stderr);
    let error = project.run(&["features", "validate", "--sample", "2"]).failed(1);
    assert!(error.contains("a share from 0 to 1"), "{error}");
}

#[cfg(not(feature = "sql"))]
#[test]
fn a_build_without_sql_says_how_to_get_one_for_a_query_alone() {
    let project = project();
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    let query =
        "[[feature_views]]\nname = \"q\"\nentity = \"user\"\nfeatures = { q = \"number\" }\nquery = \"select 1\"\n";
    project.write("tastemaker.toml", &(settings + query));
    let historical =
        ["features", "historical", "--entities", "rows.csv", "--features", "clicks,q", "--out", "worth.parquet"];
    project.run(&historical).ok();
    for arguments in [&["--view", "q"][..], &[]] {
        let error = project.run(&[&["features", "materialize"], arguments].concat()).failed(1);
        assert!(error.contains("'q' come from a query") && error.contains("--features sql"), "{error}");
    }
    let said = project.run(&["features", "materialize", "--view", "worth"]).ok();
    assert!(said.starts_with("worth: 2 rows written"), "{said}");
}
