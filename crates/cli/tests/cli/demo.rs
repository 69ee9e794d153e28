//! The demo: one command, real data.

use crate::support::Project;

#[test]
fn the_demo_shows_a_model_above_popularity_and_a_click_that_changes_the_answer() {
    let project = Project::empty();
    let shown = project.run(&["demo", "--exit", "--json"]).json();
    let recall = |side: &str| shown["evaluation"][side]["recall@20"].as_f64().unwrap();
    assert!(recall("model") > 1.3 * recall("popularity"), "{}", shown["evaluation"]);
    for list in ["liked", "recommended", "before_click", "after_click"] {
        assert_eq!(shown[list].as_array().unwrap().len(), 10, "{list}");
    }
    assert_ne!(shown["before_click"], shown["after_click"]);
    assert_eq!(shown["commands"].as_array().unwrap().len(), 3);
    let known = shown["liked"].as_array().unwrap();
    assert!(shown["recommended"].as_array().unwrap().iter().all(|movie| !known.contains(movie)));
    assert!(project.file("tastemaker-demo/movielens-small/README.txt").exists(), "the licence goes with the data");

    // Once more on the same folder: nothing is imported twice, and people can read it.
    let again = project.run(&["demo", "--exit"]).ok();
    assert!(again.contains("100,836 were there already"), "{again}");
    for part in ["recall@20", "popularity", "liked", "recommended", "after one click on Spirited Away", "curl "] {
        assert!(again.contains(part), "no '{part}' in {again}");
    }
}

#[test]
fn another_project_is_left_alone() {
    let project = Project::new();
    let error = project.run(&["demo", "--exit", "--dir", "."]).failed(1);
    assert!(error.contains("is another project"), "{error}");
}
