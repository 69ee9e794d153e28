//! `export`: events and vectors as Parquet, for other tools.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use tastemaker_artifacts::{GenerationStore, Version};
use tastemaker_config::Config;
use tastemaker_log::LogReader;
use tastemaker_log::export::{ExportOptions, ExportProgress, events_to_parquet};
use tastemaker_training::{ExportedEmbeddings, export_embeddings};

use crate::context::Context;
use crate::output::{Report, bytes, count};
use crate::progress::Progress;

/// Write events or vectors as Parquet, for other tools
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write every event, partitioned by day, as Spark, DuckDB and DataFusion read it
    #[command(after_help = "\
Works beside a running server. DuckDB reads the result as read_parquet('history/events/**/*.parquet').

Example:
  tastemaker export events --out history")]
    Events {
        /// The folder to write to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Replace an earlier export there
        #[arg(long)]
        overwrite: bool,
    },
    /// Write the vectors of users and items: columns id and vector
    #[command(after_help = "\
A user's score for an item is the inner product of their vectors.

Example:
  tastemaker export embeddings --users users.parquet --items items.parquet")]
    Embeddings {
        /// Write the users' vectors to this file
        #[arg(long, value_name = "FILE", required_unless_present = "items")]
        users: Option<PathBuf>,
        /// Write the items' vectors to this file
        #[arg(long, value_name = "FILE")]
        items: Option<PathBuf>,
        /// The generation [default: the champion]
        #[arg(long, value_name = "VERSION")]
        generation: Option<Version>,
        /// Replace files that are there
        #[arg(long)]
        overwrite: bool,
    },
}

#[derive(Serialize)]
struct Events {
    out: PathBuf,
    events: u64,
    days: u64,
    files: u64,
    bytes: u64,
}

impl Report for Events {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "Wrote {} events of {} days to {} ({} files, {}).",
            count(self.events),
            count(self.days),
            self.out.join("events").display(),
            count(self.files),
            bytes(self.bytes)
        )
    }
}

#[derive(Serialize)]
struct Embeddings {
    #[serde(flatten)]
    exported: ExportedEmbeddings,
    #[serde(skip)]
    files: Vec<(&'static str, usize, PathBuf)>,
}

impl Report for Embeddings {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let ExportedEmbeddings { version, rank, .. } = &self.exported;
        self.files.iter().try_for_each(|(what, rows, path)| {
            let rows = count(*rows as u64);
            writeln!(out, "Wrote {rows} vectors of {what}, {rank} long, of generation {version} to {}.", path.display())
        })
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    match &args.verb {
        Verb::Events { out, overwrite } => export_events(&config, out.clone(), *overwrite, context),
        Verb::Embeddings { users, items, generation, overwrite } => {
            ensure!(users != items, "--users and --items name one file; give each its own");
            if let Some(path) = [users, items].into_iter().flatten().find(|path| !overwrite && path.exists()) {
                bail!("{} is there already; choose another file, or replace it with --overwrite", path.display());
            }
            let store = GenerationStore::open(config.storage.generations_dir());
            let Some(version) = generation.map_or_else(|| store.champion(), |version| Ok(Some(version)))? else {
                bail!("no generation serves yet; train one with `tastemaker train`");
            };
            let exported = export_embeddings(&store.load(version)?, users.as_deref(), items.as_deref())?;
            let written = [("users", exported.users, users), ("items", exported.items, items)];
            let files =
                written.into_iter().filter_map(|(what, rows, path)| Some((what, rows?, path.clone()?))).collect();
            Ok(context.output.print(&Embeddings { exported, files })?)
        }
    }
}

fn export_events(config: &Config, out: PathBuf, overwrite: bool, context: &Context) -> Result<()> {
    let options = ExportOptions { overwrite, ..ExportOptions::default() };
    let mut progress = Progress::new(context.output);
    let log = LogReader::open(config.storage.log_dir())?;
    let report = events_to_parquet(&log, &out, &options, &mut |step| match step {
        ExportProgress::Read { done, total } => progress.update("reading the log", done, Some(total), ""),
        ExportProgress::Written { done, total } => progress.update("writing events", done, Some(total), ""),
    });
    drop(progress);
    // The message of the log crate does not know how a person would ask for it.
    let report = report.map_err(|error| match error {
        tastemaker_log::export::ExportError::NotEmpty { path } => {
            anyhow::anyhow!("{} is not empty; choose another folder, or replace it with --overwrite", path.display())
        }
        other => other.into(),
    })?;
    let tastemaker_log::export::ExportReport { events, days, files, bytes } = report;
    Ok(context.output.print(&Events { out, events, days, files, bytes })?)
}
