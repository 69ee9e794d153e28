//! Every test of the workspace, in one command.

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
