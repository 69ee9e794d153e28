//! The command line: options that every verb takes, and the verbs.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{
    completions, config, demo, doctor, evaluate, export, features, import, init, keys, models, publish, rebuild,
    recommend, serve, sql, train,
};

/// A real-time recommendation engine in one program.
#[derive(Debug, Parser)]
#[command(name = "tastemaker", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Start with real data in one command:  tastemaker demo
Start with your own:                  tastemaker init, then tastemaker import events FILE, train, serve")]
pub(crate) struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The project file [default: the nearest tastemaker.toml, here or in a folder above]
    #[arg(long, global = true, value_name = "FILE", env = "TASTEMAKER_CONFIG", help_heading = "Options of every verb")]
    pub(crate) config: Option<PathBuf>,
    /// Override a setting for this run, such as --set embeddings.rank=128; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Options of every verb")]
    pub(crate) set: Vec<String>,
    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = "Options of every verb")]
    pub(crate) json: bool,
    /// Print results and errors, and nothing else
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Options of every verb")]
    pub(crate) quiet: bool,
    /// Log what is going on to stderr; twice for more
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Options of every verb")]
    pub(crate) verbose: u8,
}

/// The verbs, each in a file of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Init(init::Args),
    Demo(demo::Args),
    Import(Box<import::Args>),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Recommend(recommend::Args),
    Features(features::Args),
    Serve(serve::Args),
    Models(models::Args),
    Publish(publish::Args),
    Rebuild(rebuild::Args),
    Export(export::Args),
    Sql(sql::Args),
    Doctor(doctor::Args),
    Config(config::Args),
    Keys(keys::Args),
    Completions(completions::Args),
}
