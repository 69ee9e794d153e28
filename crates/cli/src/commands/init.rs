//! `init`: a commented project file to start from.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tastemaker_config::{FILE_NAME, TEMPLATE};

use crate::context::Context;
use crate::output::Report;

/// Write a commented tastemaker.toml to start from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tastemaker init --dir shop
  cd shop && tastemaker import events ../purchases.csv && tastemaker train && tastemaker serve")]
pub(crate) struct Args {
    /// The folder of the project, made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Replace a project file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Written {
    project_file: PathBuf,
}

impl Report for Written {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let path = self.project_file.display();
        writeln!(out, "Wrote {path}. Next:")?;
        writeln!(out, "  1. declare your item attributes and event types in it")?;
        writeln!(
            out,
            "  2. tastemaker import items FILE and tastemaker import events FILE (CSV, JSON lines or Parquet)"
        )?;
        writeln!(out, "  3. tastemaker train")?;
        writeln!(out, "  4. tastemaker serve")
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    fs_err::create_dir_all(&args.dir)?;
    let path = args.dir.join(FILE_NAME);
    let mut options = fs_err::OpenOptions::new();
    options.write(true);
    // Decided by the system in one step, so that a file that appears meanwhile is not lost.
    let opened = if args.force { options.create(true).truncate(true) } else { options.create_new(true) }.open(&path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; edit it, or replace it with --force", path.display())
        }
        other => other?,
    };
    file.write_all(TEMPLATE.as_bytes()).context("could not write the project file")?;
    Ok(context.output.print(&Written { project_file: path })?)
}
