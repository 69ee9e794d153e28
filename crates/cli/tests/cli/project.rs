//! A project from its first file to its exports.

use std::fs;

use crate::support::{ITEMS, Project, USERS};

#[test]
fn a_project_goes_from_init_to_recommendations() {
    let project = Project::empty();
    let written = project.run(&["init", "--dir", "shop"]).ok();
    assert!(written.starts_with("Wrote shop/tastemaker.toml."), "{written}");
    assert!(project.run(&["init", "--dir", "shop"]).failed(1).contains("--force"));
    project.run(&["config", "check", "--config", "shop"]).ok();
    assert_eq!(
        project.run(&["models", "list", "--config", "shop/tastemaker.toml"]).ok(),
        "There is no generation yet; train the first with `tastemaker train`.\n"
    );
}

#[test]
fn events_become_a_model_that_knows_tastes() {
    let project = Project::with_events();
    let trained = project.run(&["train"]).ok();
    assert!(trained.starts_with("Trained als of rank 8 on 720 positive events of 60 users with 40 items"), "{trained}");
    assert!(trained.ends_with("Generation 1 is published and serves now.\n"), "{trained}");
    assert!(trained.contains("recall@5") && trained.contains("popularity"), "{trained}");

    let evaluated = project.run(&["evaluate", "--json"]).json();
    let metric = |side: &str| evaluated["evaluation"][side]["recall@5"].as_f64().unwrap();
    assert!(metric("model") > 1.5 * metric("popularity"), "{evaluated}");

    let answer = project.run(&["recommend", "--user", "u2", "--limit", "4", "--json"]).json();
    let items = answer["items"].as_array().unwrap();
    assert_eq!((items.len(), &answer["generation"]), (4, &1.into()));
    assert!(items.iter().all(|item| item["attributes"]["parity"] == "even"), "{answer}");

    let table = project.run(&["recommend", "--user", "u2", "--limit", "4"]).ok();
    assert!(table.contains("Number ") && table.contains("by generation 1"), "{table}");
    let filtered = project.run(&["recommend", "--user", "u2", "--filter", "parity = 'odd' AND number < 10", "--json"]);
    let filtered = filtered.json();
    let numbers: Vec<f64> =
        filtered["items"].as_array().unwrap().iter().map(|i| i["attributes"]["number"].as_f64().unwrap()).collect();
    assert!(!numbers.is_empty() && numbers.iter().all(|n| *n < 10.0 && *n % 2.0 == 1.0), "{numbers:?}");
    let explained = project.run(&["recommend", "--user", "u2", "--explain", "--json"]).json();
    assert!(explained["explain"].is_object(), "{explained}");

    let doctor = project.run(&["doctor"]);
    assert_eq!(doctor.status, Some(0), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("760 records, all whole"), "{}", doctor.stdout);
}

#[test]
fn exports_hold_everything() {
    let project = Project::with_events();
    project.run(&["train", "--no-holdout", "--quiet"]).ok();
    let events = project.run(&["export", "events", "--out", "history", "--json"]).json();
    assert_eq!((&events["events"], &events["days"]), (&720.into(), &12.into()));
    let days = std::fs::read_dir(project.file("history/events")).unwrap().count();
    assert_eq!(days, 12);
    let again = project.run(&["export", "events", "--out", "history"]).failed(1);
    assert!(again.contains("--overwrite"), "{again}");
    project.run(&["export", "events", "--out", "history", "--overwrite"]).ok();

    let vectors = ["export", "embeddings", "--users", "u.parquet", "--items", "i.parquet"];
    let exported = project.run(&[&vectors[..], &["--json"]].concat()).json();
    assert_eq!((&exported["users"], &exported["items"], &exported["rank"]), (&USERS.into(), &ITEMS.into(), &8.into()));
    assert!(project.file("u.parquet").exists() && project.file("i.parquet").exists());
    let again = project.run(&vectors).failed(1);
    assert!(again.contains("u.parquet is there already") && again.contains("--overwrite"), "{again}");
    project.run(&[&vectors[..], &["--overwrite"]].concat()).ok();
}

#[test]
fn settings_come_from_the_file_the_environment_and_the_command_line() {
    let project = Project::new();
    let mut command = project.command(&["config", "show", "--set", "recommend.limit=7"]);
    let shown = crate::support::Ended::new(command.env("TASTEMAKER_EMBEDDINGS__SEED", "9").output().unwrap()).ok();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap().to_owned();
    assert!(line("recommend.limit").contains("= 7") && line("recommend.limit").ends_with("--set recommend.limit"));
    assert!(
        line("embeddings.seed").contains("= 9") && line("embeddings.seed").ends_with("TASTEMAKER_EMBEDDINGS__SEED")
    );
    assert!(line("embeddings.rank").ends_with("tastemaker.toml:8:1"), "{shown}");
    std::fs::create_dir_all(project.file("deep/below")).unwrap();
    let below = project.command(&["config", "check"]).current_dir(project.file("deep/below")).output().unwrap();
    assert!(below.status.success(), "the nearest project file above counts");
    let schema = project.run(&["config", "schema"]).json();
    assert!(schema["properties"]["embeddings"].is_object());
}

#[test]
fn a_key_is_shown_once_with_the_lines_for_the_project_file() {
    let project = Project::new();
    let created = project.run(&["keys", "create", "the \"shop\"", "--scope", "read", "--scope", "write"]).ok();
    let lines = created.split_once("[[server.api_keys]]").unwrap().1;
    let settings = std::fs::read_to_string(project.file("tastemaker.toml")).unwrap();
    project.write("tastemaker.toml", &format!("{settings}\n[[server.api_keys]]{lines}"));
    project.run(&["config", "check"]).ok();
    let key = created.lines().find_map(|line| line.strip_prefix("  tm_")).unwrap();
    assert_eq!(key.len(), 64);
    assert!(!lines.contains(key));
}

#[test]
fn completions_are_for_the_shell_that_is_named() {
    assert!(Project::empty().run(&["completions", "bash"]).ok().contains("_tastemaker()"));
}

#[test]
fn the_doctor_changes_nothing_and_says_what_a_start_would_cut() {
    let project = Project::with_events();
    let segment = project.file("data/log/00000000000000000000.log");
    let whole = fs::read(&segment).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[whole.len() - 17..]);
    fs::write(&segment, &torn).unwrap();
    // Every file under the data folder with its content, its size and its time.
    let look = || {
        let mut folders = vec![project.file("data")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::metadata(&path).unwrap();
                files.push((
                    path.clone(),
                    metadata.modified().unwrap(),
                    metadata.is_file().then(|| fs::read(&path).unwrap()),
                ));
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        files.sort();
        files
    };
    let before = look();
    let doctor = project.run(&["doctor"]);
    assert!(look() == before, "it changed the data folder");
    assert_eq!(doctor.status, Some(0), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("760 records, all whole; the next start cuts 17 bytes"), "{}", doctor.stdout);
    project.write("more.csv", "user,item,timestamp,type\nu1,i1,1704067200,click\n");
    project.run(&["import", "events", "more.csv"]);
    let doctor = project.run(&["doctor"]).stdout;
    assert!(doctor.contains("761 records, all whole\n"), "{doctor}");
}
