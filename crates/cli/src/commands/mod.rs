//! One file for each verb: its arguments, what it runs, and how it reports.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod features;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod models;
pub(crate) mod publish;
pub(crate) mod rebuild;
pub(crate) mod recommend;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod train;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Verb;
use crate::context::Context;

/// Runs one verb. The status is a failure only where a verb was carried out and found something wrong.
pub(crate) fn run(verb: Verb, context: &Context) -> Result<ExitCode> {
    match verb {
        Verb::Init(args) => init::run(&args, context)?,
        Verb::Demo(args) => demo::run(&args, context)?,
        Verb::Import(args) => return import::run(&args, context),
        Verb::Train(args) => train::run(&args, context)?,
        Verb::Evaluate(args) => evaluate::run(&args, context)?,
        Verb::Recommend(args) => recommend::run(&args, context)?,
        Verb::Serve(args) => serve::run(&args, context)?,
        Verb::Models(args) => models::run(&args, context)?,
        Verb::Publish(args) => publish::run(&args, context)?,
        Verb::Rebuild(args) => rebuild::run(&args, context)?,
        Verb::Export(args) => export::run(&args, context)?,
        Verb::Features(args) => return features::run(&args, context),
        Verb::Sql(args) => sql::run(&args, context)?,
        Verb::Doctor(args) => return doctor::run(&args, context),
        Verb::Config(args) => config::run(&args, context)?,
        Verb::Keys(args) => keys::run(&args, context)?,
        Verb::Completions(args) => completions::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
