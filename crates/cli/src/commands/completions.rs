//! `completions`: for shells.

use std::io;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;

/// Print shell completions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tastemaker completions bash > ~/.local/share/bash-completion/completions/tastemaker")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tastemaker", &mut script);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
}
