//! Every test of the workspace, in two commands: `test`, and `test --sql` for what only a build with DataFusion has.

use crate::postgres;
use crate::provision;
use crate::redis;
use crate::shell::{self, cargo, installed};

/// What costs little to compile is tested with everything else.
const WORKSPACE: [&str; 3] = ["--workspace", "--features", "tastemaker-cli/postgres"];

/// Builds the workspace once, then runs unit, integration and documentation tests.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let (browser, python) = (provision::browser()?, provision::python_client()?);
    let (server, database) = (provision::redis()?, provision::postgres()?);
    let tests = |arguments: &[&str], online: &str| {
        let mut tests = cargo();
        tests
            .args(arguments)
            .args(WORKSPACE)
            .arg("--no-fail-fast")
            .args(args)
            .env("TASTEMAKER_BROWSER", browser)
            .env("TASTEMAKER_PYTHON", &python);
        tests.env(redis::SERVER, &server.server).env(redis::SEARCH, &server.search);
        tests.env(postgres::PROGRAMS, &database.programs);
        shell::run(tests.env("TASTEMAKER_TEST_ONLINE", online))
    };
    if installed("cargo-nextest") {
        tests(&["nextest", "run"], "memory")?;
        tests(&[&["nextest", "run"], &CONTRACT[..]].concat(), "redis")?;
        shell::run(cargo().arg("test").args(WORKSPACE).args(["--doc", "--quiet"]))
    } else {
        tests(&["test"], "memory")?;
        tests(&[&["test"], &CONTRACT[..]].concat(), "redis")
    }
}

/// What holds of a server that answers from memory holds of one that answers from Redis: these run on both.
const CONTRACT: [&str; 12] = [
    "--test",
    "serving",
    "--test",
    "writes",
    "--test",
    "generations",
    "--test",
    "refusals",
    "--test",
    "features_validation",
    "--test",
    "features",
];

/// The crates and features of a build with SQL. One selection for all of its tests, so that DataFusion is compiled once.
const SQL: [&str; 6] =
    ["-p", "tastemaker-sql", "-p", "tastemaker-cli", "--features", "tastemaker-sql/datafusion,tastemaker-cli/sql"];

/// Builds with SQL and runs the tests that need it.
pub(crate) fn run_sql(args: &[String]) -> anyhow::Result<()> {
    shell::run(cargo().arg("test").args(SQL).args(["--test", "queries", "--test", "sql"]).args(args))
}
