//! What goes wrong before anything is done.

use std::io::Read;
use std::process::Stdio;

use crate::support::Project;

#[test]
fn without_a_project_there_is_one_message_that_says_what_to_do() {
    let error = Project::empty().run(&["train"]).failed(1);
    assert!(error.starts_with("error: there is no tastemaker.toml in "), "{error}");
    assert!(error.contains("`tastemaker init`") && error.lines().count() == 1, "{error}");
}

#[test]
fn for_programs_an_error_is_json_on_stderr() {
    let error = Project::empty().run(&["train", "--json"]).failed(1);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert!(error["error"].as_str().unwrap().contains("tastemaker.toml"));
}

#[test]
fn a_slip_in_the_project_file_is_found_with_its_place() {
    let project = Project::new();
    project.write("tastemaker.toml", "[embeddings]\nrnak = 8\n");
    let error = project.run(&["config", "check"]).failed(1);
    assert!(error.contains("tastemaker.toml:2:1") && error.contains("did you mean 'rank'?"), "{error}");
    let error = Project::new().run(&["config", "check", "--set", "embeddings.rank"]).failed(1);
    assert!(error.contains("--set section.key=value"), "{error}");
}

#[test]
fn a_slip_in_a_feature_is_found_with_its_line_and_its_name() {
    let project = Project::new();
    let feature = |line: &str| format!("[[features]]\nentity = \"user\"\nname = \"n\"\n{line}\n");
    let cases = [
        (feature("aggregate = \"count\"\nfilter = \"valeu > 1\""), &["tastemaker.toml:5:", "'user.n'", "'value'?"][..]),
        (feature("aggregate = \"sum\"\nvalue = \"type\""), &["tastemaker.toml:5:", "'user.n'", "a number"]),
        (feature("aggregate = \"session_duration\""), &["tastemaker.toml:", "'user.n'", "gap is missing"]),
        (feature("aggregate = \"count\"\ndefault = \"x\""), &["tastemaker.toml:5:", "'user.n'", "give a number"]),
        (feature("expression = \"user.m + 1\""), &["tastemaker.toml:4:", "'user.n'", "unknown"]),
        ("[feature_services]\nall = [\"x\"]\n".to_owned(), &["tastemaker.toml:2:", "there is no feature 'x'"]),
        ("[recommend]\nboost = \"prise\"\n".to_owned(), &["tastemaker.toml:2:", "'prise'"]),
    ];
    for (text, parts) in cases {
        project.write("tastemaker.toml", &text);
        let error = project.run(&["config", "check"]).failed(1);
        assert!(parts.iter().all(|part| error.contains(part)) && error.lines().count() == 1, "{text}: {error}");
    }
    project.write("tastemaker.toml", &feature("aggregate = \"cuont\""));
    let error = project.run(&["config", "check"]).failed(1);
    assert!(error.contains("did you mean 'count'?") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_table_that_is_missing_is_found_by_the_doctor() {
    let project = Project::new();
    let view =
        "[[feature_views]]\nname = \"w\"\nentity = \"user\"\npath = \"gone.parquet\"\nfeatures = { v = \"number\" }\n";
    project.write("tastemaker.toml", view);
    let ended = project.run(&["doctor"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("FAIL  tables") && ended.stdout.contains("gone.parquet"), "{}", ended.stdout);
}

#[test]
fn a_rule_that_names_no_attribute_is_found_with_its_place() {
    let project = Project::new();
    project.write(
        "tastemaker.toml",
        "[items.attributes]\navailable = \"bool\"\n\n[recommend]\neligibility = \"avialable\"\n",
    );
    for verb in [&["config", "check"][..], &["doctor"], &["serve"]] {
        let ended = project.run(verb);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains("tastemaker.toml:5:1") && said.contains("recommend.eligibility"), "{said}");
        assert!(said.contains("did you mean 'available'?"), "{said}");
    }
    let ended = project.run(&["config", "check", "--set", "recommend.eligibility=avail"]);
    assert!(ended.stderr.contains("--set recommend.eligibility: "), "{}", ended.stderr);
}

#[test]
fn training_on_nothing_leaves_nothing() {
    let project = Project::new();
    project.run(&["train"]).failed(1);
    assert!(!project.file("data").exists());
}

#[test]
fn a_wrong_command_line_ends_with_status_2() {
    let project = Project::new();
    for arguments in [&["trian"][..], &["recommend"], &["export", "embeddings"], &["train", "--force", "--no-promote"]]
    {
        let error = project.run(arguments).failed(2);
        assert!(error.contains("Usage:") || error.contains("--help"), "{error}");
    }
    assert!(project.run(&["trian"]).failed(2).contains("'train'"));
}

#[test]
fn a_filter_that_names_no_attribute_is_refused_with_a_suggestion() {
    let project = Project::with_events();
    let error = project.run(&["recommend", "--user", "u1", "--filter", "pairty = 'odd'"]).failed(1);
    assert!(error.contains("parity"), "{error}");
}

#[cfg(not(feature = "sql"))]
#[test]
fn a_build_without_sql_has_the_verb_and_says_how_to_get_it() {
    let project = Project::with_events();
    let error = project.run(&["sql", "select 1"]).failed(1);
    assert!(error.contains("cargo install --path crates/cli --features sql"), "{error}");
    assert!(project.run(&["sql", "--help"]).ok().contains("Example:\n  tastemaker sql"));
    project.run(&["sql"]).failed(2);
}

#[test]
fn help_shows_an_example() {
    let help = Project::empty().run(&["train", "--help"]).ok();
    assert!(help.contains("Example:\n  tastemaker train --set embeddings.rank=128"), "{help}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::new();
    let mut child =
        project.command(&["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
