//! `config`: what is in effect, where it came from, and what there is.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use tastemaker_config::{Setting, schema};

use crate::context::Context;
use crate::output::Report;

/// Show or check the project's settings
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print every setting in effect and where it came from
    #[command(after_help = "Example:\n  tastemaker config show --set embeddings.rank=128")]
    Show,
    /// Check the settings and say all that is wrong with them
    #[command(after_help = "Example:\n  tastemaker config check --config shop/tastemaker.toml")]
    Check,
    /// Print the JSON schema of tastemaker.toml, for editors
    #[command(after_help = "Example:\n  tastemaker config schema > tastemaker.schema.json")]
    Schema,
}

#[derive(Serialize)]
struct Shown {
    project_file: PathBuf,
    settings: Vec<Setting>,
    #[serde(skip)]
    lines: String,
}

impl Report for Shown {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.lines.as_bytes())
    }
}

#[derive(Serialize)]
struct Checked {
    project_file: PathBuf,
    ok: bool,
}

impl Report for Checked {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} is good", self.project_file.display())
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    match args.verb {
        Verb::Show => {
            let project_file = context.project_file()?;
            let loaded = context.load_from(&project_file)?;
            let shown = Shown { project_file, settings: loaded.settings(), lines: loaded.show() };
            Ok(context.output.print(&shown)?)
        }
        Verb::Check => {
            let project_file = context.project_file()?;
            context.load_from(&project_file)?;
            Ok(context.output.print(&Checked { project_file, ok: true })?)
        }
        Verb::Schema => {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, schema())?;
            Ok(writeln!(out)?)
        }
    }
}
