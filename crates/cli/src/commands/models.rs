//! `models`: the generations there are, and which one serves.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use tastemaker_artifacts::{GenerationStore, Manifest, Version};
use tastemaker_recommend::check_generation;

use super::evaluate::write_metrics;
use crate::context::Context;
use crate::output::{Report, bytes, count, seconds, table, write_table};

/// List, show, promote and roll back model generations
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the generations; one whose files are missing or cut short is listed as such (`doctor` reads them whole)
    #[command(after_help = "Example:\n  tastemaker models list")]
    List,
    /// Show what one generation was made from, how it did and what is in it
    #[command(after_help = "Example:\n  tastemaker models show 3")]
    Show {
        /// The generation [default: the champion]
        version: Option<Version>,
    },
    /// Make a generation serve, after checking it as a server would; a running server picks it up
    #[command(after_help = "Example:\n  tastemaker models promote 3")]
    Promote {
        /// The generation
        version: Version,
    },
    /// Make the generation serve that served before
    #[command(after_help = "Example:\n  tastemaker models rollback")]
    Rollback,
}

#[derive(Serialize)]
struct Entry {
    version: Version,
    champion: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt: Option<String>,
}

#[derive(Serialize)]
struct List {
    generations: Vec<Entry>,
}

impl Report for List {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.generations.is_empty() {
            return writeln!(out, "There is no generation yet; train the first with `tastemaker train`.");
        }
        let right = [false, true, false, false, true, true, true, true];
        let mut table = table(["", "version", "created", "model", "users", "items", "events", "recall"], right);
        for entry in &self.generations {
            let mark = if entry.champion { "*" } else { "" }.to_owned();
            let version = entry.version.to_string();
            match &entry.manifest {
                Some(Manifest { created_at, model, lineage, evaluation, .. }) => table.add_row([
                    mark,
                    version,
                    created_at.to_string().chars().take(19).collect(),
                    format!("{} {}", model.kind, model.rank),
                    count(model.users as u64),
                    count(model.items as u64),
                    count(lineage.events),
                    evaluation.as_ref().and_then(recall).unwrap_or_else(|| "–".to_owned()),
                ]),
                None => table.add_row([mark, version, "corrupt".to_owned()]),
            };
        }
        write_table(out, &table)?;
        for reason in self.generations.iter().filter_map(|entry| entry.corrupt.as_ref()) {
            writeln!(out, "{reason}")?;
        }
        match self.generations.iter().any(|entry| entry.champion) {
            true => writeln!(out, "* serves"),
            false => writeln!(out, "None serves; pick one with `tastemaker models promote VERSION`."),
        }
    }
}

fn recall(evaluation: &tastemaker_artifacts::Evaluation) -> Option<String> {
    let (name, value) = evaluation.model.iter().find(|(name, _)| name.starts_with("recall@"))?;
    Some(format!("{value:.4} @{}", name.trim_start_matches("recall@")))
}

#[derive(Serialize)]
struct Show {
    champion: bool,
    #[serde(flatten)]
    manifest: Manifest,
}

impl Report for Show {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Manifest { version, project, created_at, model, lineage, evaluation, files, .. } = &self.manifest;
        let serves = if self.champion { ", the champion" } else { "" };
        writeln!(out, "Generation {version} of {project}{serves}, published {created_at}")?;
        writeln!(
            out,
            "  model     {}, rank {}: {} users × {} items",
            model.kind,
            model.rank,
            count(model.users as u64),
            count(model.items as u64)
        )?;
        let latest = lineage.latest_event.map(|time| format!(", the latest at {time}")).unwrap_or_default();
        writeln!(out, "  events    {} positive{latest}", count(lineage.events))?;
        writeln!(out, "  log       up to position {}", lineage.log_position)?;
        let parent = lineage.parent.map_or("none".to_owned(), |parent| parent.to_string());
        writeln!(out, "  parent    {parent}")?;
        writeln!(out, "  settings  {} (seed {})", lineage.config_hash, lineage.seed)?;
        let took = seconds(lineage.training_seconds);
        writeln!(out, "  trained   in {took} by tastemaker {}", lineage.tool_version)?;
        writeln!(out)?;
        let mut listed = table(["file", "size", "sha256"], [false, true, false]);
        for file in files {
            listed.add_row([file.name.clone(), bytes(file.bytes), file.sha256.clone()]);
        }
        write_table(out, &listed)?;
        match evaluation {
            Some(evaluation) => {
                writeln!(out)?;
                write_metrics(out, evaluation)
            }
            None => writeln!(out, "\nNot measured: it was trained with --no-holdout."),
        }
    }
}

#[derive(Serialize)]
struct Serves {
    champion: Version,
    was: Option<Version>,
}

impl Report for Serves {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.was {
            Some(was) if was == self.champion => writeln!(out, "Generation {was} serves already."),
            Some(was) => writeln!(out, "Generation {} serves now; before it was {was}.", self.champion),
            None => writeln!(out, "Generation {} serves now.", self.champion),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let store = GenerationStore::open(context.load()?.config.storage.generations_dir());
    let output = context.output;
    match args.verb {
        Verb::List => {
            let entry = |listed: tastemaker_artifacts::Listed| {
                let (manifest, corrupt) = match listed.manifest {
                    Ok(manifest) => (Some(manifest), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                Entry { version: listed.version, champion: listed.champion, manifest, corrupt }
            };
            output.print(&List { generations: store.list()?.into_iter().map(entry).collect() })?;
        }
        Verb::Show { version } => {
            let champion = store.champion()?;
            let Some(version) = version.or(champion) else {
                anyhow::bail!("no generation serves yet; train one (`tastemaker train`) or name one (`models list`)");
            };
            output.print(&Show { champion: champion == Some(version), manifest: store.manifest(version)? })?;
        }
        Verb::Promote { version } => {
            let was = store.champion().unwrap_or(None);
            check_generation(&store.load(version)?)?;
            store.promote(version)?;
            output.print(&Serves { champion: version, was })?;
        }
        Verb::Rollback => {
            let was = store.champion()?;
            if let Some(target) = store.rollback_target()? {
                check_generation(&store.load(target)?)?;
            }
            output.print(&Serves { champion: store.rollback()?, was })?;
        }
    }
    Ok(())
}
