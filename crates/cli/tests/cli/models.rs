//! Generations: promoted, rolled back, corrupt, and never half-made.

use std::fs;

use crate::support::{Ended, Project, signal, wait_until};

#[test]
fn generations_are_listed_shown_promoted_and_rolled_back() {
    let project = Project::with_events();
    project.run(&["train"]).ok();
    project.run(&["train", "--no-promote", "--set", "embeddings.seed=2"]).ok();
    let list = project.run(&["models", "list", "--json"]).json();
    let champions: Vec<bool> =
        list["generations"].as_array().unwrap().iter().map(|g| g["champion"].as_bool().unwrap()).collect();
    assert_eq!(champions, [true, false]);
    assert_eq!(project.run(&["models", "promote", "2"]).ok(), "Generation 2 serves now; before it was 1.\n");
    let shown = project.run(&["models", "show"]).ok();
    assert!(shown.starts_with("Generation 2 of ") && shown.contains("the champion"), "{shown}");
    assert!(
        shown.contains("(seed 2)") && shown.contains("item_factors.f32") && shown.contains("parent    1"),
        "{shown}"
    );
    assert_eq!(project.run(&["models", "rollback"]).ok(), "Generation 1 serves now; before it was 2.\n");
    assert!(project.run(&["models", "rollback"]).failed(1).contains("no earlier generation"));
    let error = project.run(&["models", "promote", "9"]).failed(1);
    assert!(error.contains("there is no model generation 9; there are: 1, 2"), "{error}");
    assert!(project.run(&["models", "list"]).ok().contains("* serves"));
}

#[test]
fn a_corrupt_generation_is_refused_by_name_and_the_old_one_serves_on() {
    let project = Project::with_events();
    project.run(&["train"]).ok();
    project.run(&["train", "--no-promote"]).ok();
    let path = project.file("data/generations/0000000002/item_factors.f32");
    let mut content = fs::read(&path).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    fs::write(&path, content).unwrap();
    let error = project.run(&["models", "promote", "2"]).failed(1);
    assert!(error.contains("item_factors.f32") && error.contains("train again"), "{error}");
    let answer = project.run(&["recommend", "--user", "u2", "--json"]).json();
    assert_eq!(answer["generation"], 1);

    fs::write(project.file("data/generations/0000000002/manifest.json"), "{").unwrap();
    let list = project.run(&["models", "list"]).ok();
    assert!(list.contains("corrupt") && list.contains("manifest.json"), "{list}");

    // The champion itself: the doctor fails, and answers go on without a model.
    fs::write(project.file("data/generations/0000000001/encoder.bin"), "not what it was").unwrap();
    let doctor = project.run(&["doctor"]);
    assert_eq!(doctor.status, Some(1), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("FAIL  models") && doctor.stdout.contains("encoder.bin"), "{}", doctor.stdout);
    let ended = project.run(&["recommend", "--user", "u2", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.status, answer["generation"].is_null()), (Some(0), true), "{}", ended.stderr);
    assert!(!answer["items"].as_array().unwrap().is_empty());
}

#[test]
fn interrupted_training_leaves_nothing_behind() {
    let project = Project::with_events();
    project.run(&["train"]).ok();
    let endless = ["train", "--set", "embeddings.iterations=1000", "--set", "embeddings.rank=512"];
    let child = project.spawn(&endless);
    let drafts = project.file("data/generations/drafts");
    wait_until("a draft", || fs::read_dir(&drafts).is_ok_and(|entries| entries.count() > 0));
    signal(&child, "INT");
    let ended = Ended::new(child.wait_with_output().unwrap());
    assert_eq!(ended.failed(130), "error: cancelled; nothing was changed\n");
    assert_eq!(fs::read_dir(&drafts).unwrap().count(), 0);

    let mut child = project.spawn(&endless);
    wait_until("a draft", || fs::read_dir(&drafts).is_ok_and(|entries| entries.count() > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    let list = project.run(&["models", "list", "--json"]).json();
    assert_eq!(list["generations"].as_array().unwrap().len(), 1);
    project.run(&["train"]).ok();
    assert_eq!(fs::read_dir(&drafts).unwrap().count(), 0, "the next run sweeps what the killed one left");
}
