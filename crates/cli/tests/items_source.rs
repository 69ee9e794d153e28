//! What a person at a terminal is told of `[items.source]`, in a build that has it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, unused_imports, reason = "shared with the tests of the other verbs")]
#[path = "cli/support.rs"]
mod support;

use support::Project;
use tastemaker_testkit::PostgresServer;

#[test]
fn the_doctor_looks_at_the_table_its_columns_and_its_indexes() {
    let server = PostgresServer::start();
    let project = Project::empty();
    let url = server.url("postgres");
    project.write(
        "tastemaker.toml",
        &format!("[items.attributes]\nprice = \"number\"\n[items.source]\npostgres = \"{url}\"\n"),
    );
    let doctor = || project.run(&["doctor"]);

    let missing = doctor();
    assert_eq!(missing.status, Some(1), "{}", missing.stdout);
    assert!(missing.stdout.contains("FAIL  items        there is no table \"public\".\"items\""), "{}", missing.stdout);

    server.sql("CREATE TABLE items (id text, price text, updated_at timestamptz)");
    assert!(doctor().stdout.contains("which cannot be attribute 'price', a number"), "{}", doctor().stdout);

    server.sql("ALTER TABLE items ALTER price TYPE numeric USING NULL");
    let slow = doctor();
    assert_eq!(slow.status, Some(0), "{}", slow.stdout);
    for advice in [
        "every look for changes reads the whole table; CREATE INDEX ON \"public\".\"items\" (\"updated_at\")",
        "every read of an item reads the whole table; CREATE INDEX ON \"public\".\"items\" (\"id\")",
    ] {
        assert!(slow.stdout.contains(advice), "{}", slow.stdout);
        // The advice is good.
        server.sql(advice.rsplit_once("; ").unwrap().1);
    }
    let well = doctor();
    assert!(well.stdout.contains("ok    items        \"public\".\"items\""), "{}", well.stdout);
    assert!(!well.stdout.contains("warn  items"), "{}", well.stdout);
}
