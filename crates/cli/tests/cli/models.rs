//! Generations: promoted, rolled back, corrupt, and never half-made.

use std::fs;
use std::path::Path;
use std::process::Command;

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

/// Makes manifest and checksums agree with the files of a generation, as a broken trainer would.
fn reseal(folder: &Path) {
    let sum = |path: &Path| {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        let name = folder.join(file["name"].as_str().unwrap());
        file["bytes"] = fs::metadata(&name).unwrap().len().into();
        file["sha256"] = sum(&name).into();
    }
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::write(folder.join("manifest.sha256"), sum(&path)).unwrap();
}

#[test]
fn what_a_server_would_refuse_is_neither_promoted_nor_rolled_back_to_nor_called_well() {
    let project = Project::with_events();
    project.run(&["train"]).ok();
    project.run(&["train", "--no-promote"]).ok();
    project.run(&["train", "--no-promote", "--set", "embeddings.rank=4"]).ok();
    let folder = |version: u64| project.file(&format!("data/generations/{version:010}"));
    let nan = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    let other = |file: &str| fs::read(folder(3).join(file)).unwrap();
    let damages: [(&str, Vec<u8>); 5] = [
        ("item_factors.f32", edited(&folder(2).join("item_factors.f32"), nan)),
        ("user_factors.f32", edited(&folder(2).join("user_factors.f32"), nan)),
        ("item_factors.f32", other("item_factors.f32")),
        ("user_factors.f32", other("user_factors.f32")),
        ("index.hnsw", b"no index".to_vec()),
    ];
    for (file, damaged) in damages {
        let good = fs::read(folder(2).join(file)).unwrap();
        fs::write(folder(2).join(file), damaged).unwrap();
        reseal(&folder(2));
        let error = project.run(&["models", "promote", "2"]).failed(1);
        assert!(error.contains("generation 2") && error.contains("train again"), "{file}: {error}");
        assert_eq!(project.run(&["models", "show", "--json"]).json()["version"], 1, "{file}");
        if file.ends_with(".f32") {
            let export = ["export", "embeddings", "--generation", "2", "--users", "u.parquet", "--items", "i.parquet"];
            let error = project.run(&[&export[..], &["--overwrite"]].concat()).failed(1);
            assert!(error.contains(&format!("0000000002/{file} is damaged")), "{error}");
        }
        fs::write(folder(2).join(file), good).unwrap();
        reseal(&folder(2));
    }
    project.run(&["models", "promote", "2"]).ok();

    let good = fs::read(folder(1).join("item_factors.f32")).unwrap();
    fs::write(folder(1).join("item_factors.f32"), edited(&folder(1).join("item_factors.f32"), nan)).unwrap();
    reseal(&folder(1));
    let error = project.run(&["models", "rollback"]).failed(1);
    assert!(error.contains("generation 1 has a bad item_factors.f32"), "{error}");
    assert_eq!(project.run(&["models", "show", "--json"]).json()["version"], 2);
    let doctor = project.run(&["doctor"]).stdout;
    assert!(doctor.contains("warn  models       generation 1 has a bad item_factors.f32"), "{doctor}");

    fs::write(folder(1).join("item_factors.f32"), good).unwrap();
    reseal(&folder(1));
    fs::write(folder(2).join("encoder.bin"), other("encoder.bin")).unwrap();
    reseal(&folder(2));
    let doctor = project.run(&["doctor"]);
    assert_eq!(doctor.status, Some(1), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("FAIL  models       generation 2 has a bad encoder.bin"), "{}", doctor.stdout);
    project.run(&["models", "rollback"]).ok();
}

fn edited(path: &Path, edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut content = fs::read(path).unwrap();
    edit(&mut content);
    content
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
