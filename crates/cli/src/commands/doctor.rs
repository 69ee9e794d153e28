//! `doctor`: looks at everything that a project needs to run, and says what to do about what is wrong.

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tastemaker_artifacts::GenerationStore;
use tastemaker_config::Config;
use tastemaker_features::offline::table_source;
use tastemaker_features::table::{Table, TableSource};
use tastemaker_log::{LogReader, TornTail};
use tastemaker_recommend::check_generation;
use tastemaker_remote::Inspected;
use tastemaker_source::{Inspection, Postgres};
use tastemaker_types::{Position, Timestamp, Window};

use crate::context::Context;
use crate::output::{Report, bytes, count};
use crate::progress::Progress;

/// Check the settings, the event log, the generations, the items' database, Redis, the disk, the clock and the port
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the whole log and every file of every generation, and changes nothing. The exit status is 1 if anything is wrong.

Example:
  tastemaker doctor")]
pub(crate) struct Args {}

/// Below this much free space there is a warning.
const LITTLE_SPACE: u64 = 1 << 30;
/// Clocks may differ this much before there is a warning.
const SKEW: Window = Window::from_millis(5 * 60 * 1_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    health: Health,
    message: String,
}

impl Check {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, message: message.into() }
    }

    fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, health: Health::Warning, message: message.into() }
    }

    fn failed(check: &'static str, message: impl ToString) -> Self {
        Self { check, health: Health::Failed, message: message.to_string() }
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    ok: bool,
    checks: Vec<Check>,
}

impl Report for Diagnosis {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Check { check, health, message } in &self.checks {
            let mark = match health {
                Health::Ok => "ok  ",
                Health::Warning => "warn",
                Health::Failed => "FAIL",
            };
            writeln!(out, "{mark}  {check:<12} {message}")?;
        }
        match self.ok {
            true => writeln!(out, "All is well."),
            false => writeln!(out, "Something is wrong; see above."),
        }
    }
}

pub(crate) fn run(_: &Args, context: &Context) -> Result<ExitCode> {
    let mut checks = Vec::new();
    let loaded = context.project_file().and_then(|path| Ok((context.load_from(&path)?, path)));
    match &loaded {
        Ok((loaded, path)) => {
            checks.push(Check::ok("settings", format!("{} is good", path.display())));
            let config = &loaded.config;
            let mut progress = Progress::new(context.output);
            checks.push(check_space(&config.storage.data_dir));
            checks.push(check_writer(&config.storage.log_dir()));
            checks.extend(check_log(config, &mut progress));
            checks.extend(check_generations(config));
            checks.extend(check_tables(config));
            checks.extend(check_items_source(config));
            checks.extend(check_redis(config));
            checks.push(check_port(config));
        }
        Err(error) => checks.push(Check::failed("settings", format!("{error:#}"))),
    }
    let ok = checks.iter().all(|check| check.health != Health::Failed);
    context.output.print(&Diagnosis { ok, checks })?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_space(data_dir: &Path) -> Check {
    // Where the folder is not there yet, the one that it would be made in tells the same.
    let Some(folder) = data_dir.ancestors().find(|folder| folder.is_dir()).or(Some(Path::new("."))) else {
        return Check::failed("disk", format!("{} is no folder", data_dir.display()));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        return Check::failed(
            "disk",
            format!("{} cannot be written: {error}; change its owner or mode", folder.display()),
        );
    }
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let message = format!("{} free for {}", bytes(free), data_dir.display());
            if free < LITTLE_SPACE {
                Check::warning("disk", format!("{message}; writes are refused when it is full, so make room"))
            } else {
                Check::ok("disk", message)
            }
        }
        Err(error) => Check::failed("disk", format!("cannot tell the free space of {}: {error}", folder.display())),
    }
}

/// Who writes to the log, if anybody does.
fn writer_of(log_dir: &Path) -> io::Result<Option<String>> {
    let path = log_dir.join("lock");
    let Ok(file) = std::fs::File::open(&path) else { return Ok(None) };
    // Shared and let go of at once: it does not keep a writer out for longer than this line.
    match file.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            let holder = holder.trim();
            Ok(Some(if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") }))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(None),
    }
}

fn check_writer(log_dir: &Path) -> Check {
    match writer_of(log_dir) {
        Ok(None) => Check::ok("writer", "nothing writes to the event log"),
        Ok(Some(writer)) => {
            Check::ok("writer", format!("{writer} writes to the event log (a running server or import)"))
        }
        Err(error) => Check::failed("writer", format!("{}: {error}", log_dir.join("lock").display())),
    }
}

/// Reads every record: the log itself, and whether clocks agree.
fn check_log(config: &Config, progress: &mut Progress) -> Vec<Check> {
    let dir = config.storage.log_dir();
    if !dir.is_dir() {
        return vec![Check::ok("event log", format!("not there yet ({}); import or serve makes it", dir.display()))];
    }
    let mut read = || -> Result<(u64, Option<Timestamp>, Option<TornTail>), tastemaker_log::LogError> {
        let mut records = 0;
        let mut latest = None;
        let reader = LogReader::open(&dir)?;
        for record in reader.read_from(Position(0)) {
            latest = latest.max(Some(record?.1.timestamp()));
            records += 1;
            progress.update("reading the event log", records, None, "");
        }
        // A running writer may be in the middle of a write.
        let torn = if writer_of(&dir).is_ok_and(|writer| writer.is_none()) { reader.torn_tail()? } else { None };
        Ok((records, latest, torn))
    };
    match read() {
        Err(error) => vec![Check::failed("event log", error)],
        Ok((records, latest, torn)) => {
            let whole = format!("{} records, all whole", count(records));
            let log = match torn {
                None => Check::ok("event log", whole),
                Some(TornTail { path, bytes }) => Check::warning(
                    "event log",
                    format!(
                        "{whole}; the next start cuts {bytes} bytes of an interrupted write off {}, which was never acknowledged",
                        path.display()
                    ),
                ),
            };
            let now = Timestamp::now();
            let clock = match latest {
                Some(latest) if latest > now.plus(SKEW) => Check::warning(
                    "clock",
                    format!("the latest record is from {latest}, but here it is {now}: a clock is wrong"),
                ),
                _ => Check::ok("clock", format!("{now}")),
            };
            vec![log, clock]
        }
    }
}

fn check_generations(config: &Config) -> Vec<Check> {
    let store = GenerationStore::open(config.storage.generations_dir());
    let (versions, champion) = match store.versions().and_then(|versions| Ok((versions, store.champion()?))) {
        Ok(found) => found,
        Err(error) => return vec![Check::failed("models", error)],
    };
    let mut checks = Vec::new();
    for version in &versions {
        let checked = store.load(*version).map_err(anyhow::Error::from).and_then(|it| Ok(check_generation(&it)?));
        match checked {
            Ok(()) => {}
            Err(error) if champion == Some(*version) => checks.push(Check::failed("models", error)),
            Err(error) => checks.push(Check::warning("models", error.to_string())),
        }
    }
    match champion {
        None if versions.is_empty() => {
            checks.push(Check::warning("models", "none yet: everyone gets popular items; run `tastemaker train`"));
        }
        None => checks.push(Check::warning("models", "none serves; run `tastemaker models promote VERSION`")),
        Some(champion) if !versions.contains(&champion) => checks.push(Check::failed(
            "models",
            format!("generation {champion} should serve, but is not there; promote another (`tastemaker models list`)"),
        )),
        Some(champion) if checks.is_empty() => {
            checks.push(Check::ok("models", format!("{} whole, generation {champion} serves", versions.len())));
        }
        Some(_) => {}
    }
    checks
}

/// The tables of feature views: whether they are there and have the columns that are declared.
fn check_tables(config: &Config) -> Vec<Check> {
    let tables = config.feature_views.iter().filter_map(|view| Some((&view.name, table_source(view)?)));
    let check = |(view, source): (&String, TableSource)| match Table::open(&source) {
        Ok(table) => Check::ok("tables", format!("{view}: {} rows", count(table.rows()))),
        Err(error) => Check::failed("tables", format!("feature view '{view}': {error}")),
    };
    tables.map(check).collect()
}

/// The table of `[items.source]`: whether it can be reached and read, and quickly.
fn check_items_source(config: &Config) -> Vec<Check> {
    if config.items.source.postgres.is_none() {
        return Vec::new();
    }
    let inspect = || -> Result<Inspection> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { Postgres::new(&config.items)?.inspect().await })?)
    };
    let Inspection { table, columns, updated_is_indexed, id_is_indexed } = match inspect() {
        Ok(inspection) => inspection,
        Err(error) => return vec![Check::failed("items", error)],
    };
    let mut checks = vec![Check::ok("items", format!("{table} in PostgreSQL has what {columns} attributes need"))];
    let source = &config.items.source;
    for (indexed, column, slow) in [
        (updated_is_indexed, &source.updated_at_column, "every look for changes"),
        (id_is_indexed, &source.id_column, "every read of an item"),
    ] {
        if !indexed {
            let column = column.replace('"', "\"\"");
            let message = format!("{slow} reads the whole table; CREATE INDEX ON {table} (\"{column}\")");
            checks.push(Check::warning("items", message));
        }
    }
    checks
}

/// The Redis of `storage.online`: whether it can be reached, searched and trusted with state.
fn check_redis(config: &Config) -> Vec<Check> {
    let inspect = || -> Result<Option<Inspected>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(tastemaker_remote::inspect(config))?)
    };
    let inspected = match inspect() {
        Ok(None) => return Vec::new(),
        Ok(Some(inspected)) => inspected,
        Err(error) => return vec![Check::failed("redis", error)],
    };
    let Inspected { server, health, project, generation } = inspected;
    let mut checks = Vec::new();
    let serves =
        generation.map_or("serves no generation yet".to_owned(), |version| format!("serves generation {version}"));
    match project {
        Some(other) if other != config.project.name => {
            let message = format!(
                "{server} has project '{other}' under this redis.prefix; give this one a redis.prefix of its own"
            );
            checks.push(Check::failed("redis", message));
        }
        _ => checks.push(Check::ok("redis", format!("Redis {} at {server} {serves}", health.version))),
    }
    if health.role == "slave" {
        checks.push(Check::failed("redis", format!("{server} is a replica; point storage.online at the master")));
    }
    if health.may_evict_state() {
        let policy = &health.maxmemory_policy;
        let message =
            format!("{policy} throws out users and items when memory is full; set maxmemory-policy noeviction");
        checks.push(Check::warning("redis", message));
    }
    checks
}

fn check_port(config: &Config) -> Check {
    let listen = config.server.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let message = format!("{listen} is in use: by a server that runs, or choose another with server.listen");
            Check::warning("port", message)
        }
        Err(error) => Check::failed("port", format!("cannot listen on {listen}: {error}; change server.listen")),
    }
}
