//! `features`: the feature store at the terminal, one file for each thing to do.

mod get;
mod historical;
mod list;
mod materialize;
mod validate;

use std::process::ExitCode;

use anyhow::{Result, bail};
use tastemaker_config::Config;
use tastemaker_features::offline::Progress as Step;
use tastemaker_features::set::{FeatureSet, SharedFeatures};
use tastemaker_log::LogReader;

use crate::context::Context;
use crate::interrupt;
use crate::output::count;
use crate::progress::Progress;

/// List and read features, compute them for training, check those that were served, bring in those of tables
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Get(get::Args),
    Historical(historical::Args),
    Validate(validate::Args),
    Materialize(materialize::Args),
}

/// The status is a failure if values differ, or no row of a table could be used.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.verb {
        Verb::List(args) => list::run(args, context)?,
        Verb::Get(args) => get::run(args, context)?,
        Verb::Historical(args) => historical::run(args, context)?,
        Verb::Validate(args) => return validate::run(args, context),
        Verb::Materialize(args) => return materialize::run(args, context),
    }
    Ok(ExitCode::SUCCESS)
}

fn compile(config: &Config) -> Result<SharedFeatures> {
    Ok(SharedFeatures::new(FeatureSet::compile(config)?))
}

/// The project's event log; an error if there is none.
fn open_log(config: &Config) -> Result<LogReader> {
    let dir = config.storage.log_dir();
    if !dir.is_dir() {
        bail!("there is no event log in {} yet; import events, or start the server, first", dir.display());
    }
    Ok(LogReader::open(dir)?)
}

/// Shows a step of a pass over the log; breaks it off after Ctrl-C.
fn show(progress: &mut Progress, step: Step) -> std::ops::ControlFlow<()> {
    match step {
        Step::Log { done, total } => {
            progress.update("reading the log", done, Some(total), &format!("{} records", count(done)));
        }
        Step::Entities { done, total } => progress.update("computing features", done, Some(total), ""),
    }
    if interrupt::interrupted() { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
}
