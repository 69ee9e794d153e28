//! `features materialize`: the newest rows of batch views into the log, or to a server that has it open.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, bail};
use serde::Serialize;
use tastemaker_config::{ByteSize, Config, FeatureViewConfig};
use tastemaker_features::offline::Materialized;
use tastemaker_features::set::FeatureSet;
use tastemaker_types::Timestamp;

use super::{compile, open_log, show};
#[cfg(not(feature = "sql"))]
use crate::commands::sql::NO_SQL;
use crate::context::Context;
use crate::importing::{Http, Log, Sink};
use crate::interrupt;
use crate::materializing::{Moved, Target, materialize};
use crate::output::{Report, count};
use crate::progress::Progress;

/// Bring the newest row of each entity of batch tables and queries into the online features
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the views of [[feature_views]] that have a path or a query. What is there already is not written again, and an
interrupted run goes on where it was. Afterwards only rows of a table that are no older than the newest before are read; --full
reads every row again. A query is answered anew each time. A view that fails does not keep the others from being brought in.

Example:
  tastemaker features materialize --view lifetime_value")]
pub(crate) struct Args {
    /// This view [default: all with a path or a query]; may be repeated
    #[arg(long, value_name = "NAME")]
    view: Vec<String>,
    /// Read every row, also those that are older than what was read before
    #[arg(long)]
    full: bool,
    /// Push the rows to a running server instead of writing the log
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The API key for the server
    #[arg(long, value_name = "KEY", env = "TASTEMAKER_API_KEY", hide_env_values = true, requires = "url")]
    key: Option<String>,
    /// Memory for what a query collects; beyond it, sorting and grouping go on in temporary files
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteSize,
}

#[derive(Serialize)]
struct View {
    view: String,
    /// Entities whose newest row was read.
    rows: u64,
    written: u64,
    unchanged: u64,
    refused: u64,
    refused_by: BTreeMap<String, u64>,
    examples: Vec<String>,
    rows_per_second: f64,
}

#[derive(Serialize)]
struct Done {
    views: Vec<View>,
    interrupted: bool,
}

impl Report for Done {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for view in &self.views {
            write!(out, "{}: {} rows written", view.view, count(view.written))?;
            if view.unchanged > 0 {
                write!(out, ", {} were there already", count(view.unchanged))?;
            }
            if view.refused > 0 {
                write!(out, ", {} refused", count(view.refused))?;
            }
            writeln!(out, " ({} rows/s)", count(view.rows_per_second as u64))?;
            for (reason, rows) in &view.refused_by {
                writeln!(out, "refused {}: {reason}", count(*rows))?;
            }
            view.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))?;
        }
        if self.interrupted {
            writeln!(out, "Interrupted. What is in stays in; run it again to go on.")?;
        }
        Ok(())
    }
}

/// The status is 1 when rows came and none was good.
///
/// # Errors
/// Of each view that could not be brought in, after all others were.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let config = context.load()?.config;
    let set = compile(&config)?;
    let views = views(args, &config, &set)?;
    interrupt::listen()?;
    crate::logging::start_quietly(context);
    let _alone = alone(&config)?;
    let mut progress = Progress::new(context.output);
    let (mut done, mut failed) = (Done { views: Vec::new(), interrupted: false }, Vec::new());
    let (mut http, mut log);
    let sink: &mut dyn Sink = match &args.url {
        Some(url) => {
            http = Http::new(url, args.key.as_deref())?;
            &mut http
        }
        None => {
            log = Log::open(&config, false)?;
            &mut log
        }
    };
    // What goes to a server without a look at the log, which may be elsewhere: a query has one to look at.
    let blindly = |view: &FeatureViewConfig| args.url.is_some() && (args.full || !view.is_query());
    let mut known = match views.iter().all(|(_, view)| blindly(view)) {
        true => Materialized::default(),
        false => Materialized::read(&open_log(&config)?, Timestamp::now(), |step| show(&mut progress, step))?,
    };
    for (number, view) in views {
        let started = Instant::now();
        let Some(declared) = set.views().get(number) else { continue };
        let mut nothing = Materialized::default();
        let mut target = Target {
            config: &config,
            known: if blindly(view) { &mut nothing } else { &mut known },
            sink: &mut *sink,
            server: args.url.as_deref(),
            full: args.full,
            memory_bytes: args.memory.as_usize(),
        };
        let moved = materialize(view, declared, &mut target, &mut progress);
        let Moved { read, written, report, interrupted } = match moved {
            Ok(moved) => moved,
            Err(error) => {
                failed.push(error.context(format!("the feature view '{}' was not brought in", view.name)));
                continue;
            }
        };
        done.views.push(View {
            view: view.name.clone(),
            rows: read,
            written: written.written,
            unchanged: written.duplicates,
            refused: report.refused.values().sum(),
            refused_by: report.refused,
            examples: report.examples,
            rows_per_second: read as f64 / started.elapsed().as_secs_f64().max(0.001),
        });
        if interrupted {
            done.interrupted = true;
            break;
        }
    }
    drop(progress);
    if failed.is_empty() || !done.views.is_empty() {
        context.output.print(&done)?;
    }
    all_of(failed)?;
    let refused_all = done.views.iter().any(|view| view.rows == 0 && view.refused > 0);
    Ok(match () {
        () if done.interrupted => ExitCode::from(interrupt::EXIT_STATUS),
        () if refused_all => ExitCode::FAILURE,
        () => ExitCode::SUCCESS,
    })
}

/// What keeps others from materializing at the same time: they would take each other's progress away.
fn alone(config: &Config) -> Result<std::fs::File> {
    let data_dir = &config.storage.data_dir;
    fs_err::create_dir_all(data_dir)?;
    let path = data_dir.join("materialized.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "another `tastemaker features materialize` of this project is under way; run this one when it has ended"
            )
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// One error with a line for each of these; none if there are none.
fn all_of(mut errors: Vec<Error>) -> Result<()> {
    match errors.len() {
        0 => Ok(()),
        1 => errors.pop().map_or(Ok(()), Err),
        _ => bail!(errors.iter().map(crate::message).collect::<Vec<_>>().join("\n")),
    }
}

/// The views with a path or a query, each once, by their numbers.
fn views<'a>(args: &Args, config: &'a Config, set: &FeatureSet) -> Result<Vec<(usize, &'a FeatureViewConfig)>> {
    let sources = || config.feature_views.iter().enumerate().filter(|(_, view)| view.path.is_some() || view.is_query());
    let mut views = Vec::new();
    for name in &args.view {
        let number = set.view(name).map_err(|message| anyhow::anyhow!("--view: {message}"))?;
        match sources().find(|(known, _)| *known == number) {
            Some(view) if views.contains(&view) => {}
            Some(view) => views.push(view),
            None => {
                bail!("the feature view '{name}' has neither path nor query, so there is nothing to read; give it one")
            }
        }
    }
    if args.view.is_empty() {
        views.extend(sources());
        if views.is_empty() {
            bail!(
                "no feature view has a path or a query; add one under [[feature_views]], or push rows to a running server"
            );
        }
    }
    #[cfg(not(feature = "sql"))]
    if let Some((_, view)) = views.iter().find(|(_, view)| view.is_query()) {
        bail!(
            "the rows of the feature view '{}' come from a query, and this build {NO_SQL}. The other views are brought in \
             if they are named with --view",
            view.name
        );
    }
    Ok(views)
}
