//! ARCHITECTURE.md lists which crate may use which; these tests hold the workspace and the page to each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn short(name: &str) -> &str {
    name.strip_prefix("tastemaker-").unwrap_or(name)
}

/// The edges that exist: what each crate under `crates/` depends on, dev-dependencies left out.
fn actual_edges() -> Edges {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let crates_dir = root().join("crates");
    let mut edges = Edges::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&crates_dir) {
            continue;
        }
        let used = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("tastemaker-"))
            .map(|name| short(name).to_owned())
            .collect();
        edges.insert(short(package["name"].as_str().unwrap()).to_owned(), used);
    }
    edges
}

/// The edges that ARCHITECTURE.md allows: the rows of its table whose header is `crate | may use | …`.
fn allowed_edges() -> Edges {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    page.lines()
        .skip_while(|line| !line.starts_with("| crate | may use |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let names = |cell: &str| -> Vec<String> {
                cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).filter(|n| n != "–").collect()
            };
            (names(cells[1]).remove(0), names(cells[2]).into_iter().collect())
        })
        .collect()
}

#[test]
fn no_crate_uses_another_that_the_page_does_not_allow() {
    let allowed = allowed_edges();
    let actual = actual_edges();
    assert!(actual.len() > 5 && allowed.len() > 5, "the page or the workspace was not read");
    for (name, used) in &actual {
        let may_use = allowed.get(name).unwrap_or_else(|| panic!("ARCHITECTURE.md does not list the crate `{name}`"));
        let forbidden: Vec<_> = used.difference(may_use).collect();
        assert!(forbidden.is_empty(), "`{name}` uses {forbidden:?}, which ARCHITECTURE.md does not allow");
    }
}

#[test]
fn the_page_lists_no_crate_or_edge_that_is_gone() {
    let actual = actual_edges();
    for (name, may_use) in allowed_edges() {
        let used = actual.get(&name).unwrap_or_else(|| panic!("ARCHITECTURE.md lists `{name}`, which is gone"));
        let gone: Vec<_> = may_use.difference(used).collect();
        assert!(gone.is_empty(), "ARCHITECTURE.md lets `{name}` use {gone:?}, but it does not");
    }
}

#[test]
fn the_listed_edges_have_no_cycle() {
    let mut left = allowed_edges();
    while !left.is_empty() {
        let leaves: Vec<String> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|used| !left.contains_key(used)))
            .map(|(n, _)| n.clone())
            .collect();
        assert!(!leaves.is_empty(), "a cycle among {:?}", left.keys());
        left.retain(|name, _| !leaves.contains(name));
    }
}
