//! What tests and benchmarks need beside a Rust toolchain: a Python environment for the peers that we measure against,
//! and a browser for the pages that people see.

use std::path::PathBuf;

use anyhow::bail;

use crate::shell::{command, installed, run, target_dir};

/// The Python environment of benchmarks, with `packages` installed; returns its interpreter.
pub(crate) fn python(packages: &[&str]) -> anyhow::Result<PathBuf> {
    environment("python", packages)
}

/// What the tests of the Python client need; pinned, since Feast's SDK pins much itself.
const CLIENT: [&str; 6] = ["numpy>=1.24", "urllib3>=2", "pytest>=8", "feast==0.67.0", "pyarrow", "duckdb"];

/// The Python environment of the client's tests.
pub(crate) fn python_client() -> anyhow::Result<PathBuf> {
    environment("python-client", &CLIENT)
}

/// A Python environment in the target folder, made once and kept.
fn environment(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = target_dir().join(name);
    let python = dir.join("bin/python");
    if !python.is_file() {
        run(command("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(command(&python).args(pip).args(packages))?;
    Ok(python)
}

/// A headless Chromium: the one on the PATH, or Debian's, installed when we are root and `apt-get` is there.
pub(crate) fn browser() -> anyhow::Result<&'static str> {
    const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
    if let Some(name) = NAMES.into_iter().find(|name| installed(name)) {
        return Ok(name);
    }
    if installed("apt-get") {
        run(command("apt-get").args(["update", "-qq"]))?;
        run(command("apt-get").args(["install", "-y", "-qq", "--no-install-recommends", "chromium"]))?;
    }
    match NAMES.into_iter().find(|name| installed(name)) {
        Some(name) => Ok(name),
        None => bail!("no browser for the page tests: install Chromium and put `chromium` on the PATH"),
    }
}
