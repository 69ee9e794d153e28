//! `features materialize`: the newest rows of batch tables into the log, or to a server that has it open.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;
use tastemaker_config::{Config, FeatureViewConfig};
use tastemaker_features::offline::Materialized;
use tastemaker_features::set::FeatureSet;
use tastemaker_types::Timestamp;

use super::{compile, open_log, show};
use crate::context::Context;
use crate::importing::{Http, Log, Sink};
use crate::interrupt;
use crate::materializing::{Moved, Target, materialize};
use crate::output::{Report, count};
use crate::progress::Progress;

/// Bring the newest row of each entity of batch tables into the online features
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the views of [[feature_views]] that have a path. What is there already is not written again, and an interrupted run goes
on where it was. Afterwards only rows that are newer than all before are read; --full reads every row again.

Example:
  tastemaker features materialize --view lifetime_value")]
pub(crate) struct Args {
    /// This view [default: all with a path]; may be repeated
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
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let config = context.load()?.config;
    let set = compile(&config)?;
    let views = views(args, &config, &set)?;
    interrupt::listen()?;
    crate::logging::start_quietly(context);
    let mut progress = Progress::new(context.output);
    let mut done = Done { views: Vec::new(), interrupted: false };
    let (mut http, mut log);
    let (sink, mut known): (&mut dyn Sink, _) = match &args.url {
        Some(url) => {
            http = Http::new(url, args.key.as_deref())?;
            (&mut http, Materialized::default())
        }
        None => {
            log = Log::open(&config, false)?;
            (&mut log, Materialized::read(&open_log(&config)?, Timestamp::now(), |step| show(&mut progress, step))?)
        }
    };
    let mut target = Target { data_dir: &config.storage.data_dir, known: &mut known, sink, full: args.full };
    for (number, view) in views {
        let started = Instant::now();
        let Some(declared) = set.views().get(number) else { continue };
        let Moved { read, written, report, interrupted } = materialize(view, declared, &mut target, &mut progress)?;
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
    context.output.print(&done)?;
    let refused_all = done.views.iter().any(|view| view.rows == 0 && view.refused > 0);
    Ok(match () {
        () if done.interrupted => ExitCode::from(interrupt::EXIT_STATUS),
        () if refused_all => ExitCode::FAILURE,
        () => ExitCode::SUCCESS,
    })
}

/// The views with a path, by their numbers.
fn views<'a>(args: &Args, config: &'a Config, set: &FeatureSet) -> Result<Vec<(usize, &'a FeatureViewConfig)>> {
    let with_path = || config.feature_views.iter().enumerate().filter(|(_, view)| view.path.is_some());
    if args.view.is_empty() {
        let all: Vec<_> = with_path().collect();
        if all.is_empty() {
            bail!("no feature view has a path; add one under [[feature_views]], or push rows to a running server");
        }
        return Ok(all);
    }
    let mut views = Vec::new();
    for name in &args.view {
        let number = set.view(name).map_err(|message| anyhow::anyhow!("--view: {message}"))?;
        match with_path().find(|(known, _)| *known == number) {
            Some(view) => views.push(view),
            None => bail!("the feature view '{name}' has no path, so there is no table to read; give it one"),
        }
    }
    Ok(views)
}
