//! Every test of the workspace, in two commands: `test`, and `test --sql` for what only a build with DataFusion has.

use crate::provision;
use crate::shell::{self, cargo, installed};

/// Builds the workspace once, then runs unit, integration and documentation tests.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let browser = provision::browser()?;
    if installed("cargo-nextest") {
        shell::run(cargo().args(["nextest", "run", "--workspace"]).args(args).env("TASTEMAKER_BROWSER", browser))?;
        shell::run(cargo().args(["test", "--workspace", "--doc", "--quiet"]))
    } else {
        shell::run(cargo().args(["test", "--workspace"]).args(args).env("TASTEMAKER_BROWSER", browser))
    }
}

/// The crates and features of a build with SQL. One selection for all of its tests, so that DataFusion is compiled once.
const SQL: [&str; 6] =
    ["-p", "tastemaker-sql", "-p", "tastemaker-cli", "--features", "tastemaker-sql/datafusion,tastemaker-cli/sql"];

/// Builds with SQL and runs the tests that need it.
pub(crate) fn run_sql(args: &[String]) -> anyhow::Result<()> {
    shell::run(cargo().arg("test").args(SQL).args(["--test", "queries", "--test", "sql"]).args(args))
}
