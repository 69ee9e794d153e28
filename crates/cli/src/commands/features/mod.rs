//! `features`: the feature store at the terminal, one file for each thing to do.

mod get;
mod list;

use anyhow::Result;

use crate::context::Context;

/// List features and read their values
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Get(get::Args),
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.verb {
        Verb::List(args) => list::run(args, context),
        Verb::Get(args) => get::run(args, context),
    }
}
