//! `publish`: a generation to the Redis that the project serves from.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tastemaker_artifacts::{GenerationStore, Version};
use tastemaker_config::Config;
use tastemaker_remote::{Follower, Published, Step, publish};

use crate::context::Context;
use crate::logging;
use crate::output::{Report, count};
use crate::progress::Progress;

/// Publish a generation to the Redis that the project serves from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A running server publishes each new champion by itself; this does it by hand, or ahead of the first start. The generation is loaded beside the one
that serves and checked against an exact search; then searches go to it. What was cut off goes on where it was. Needs storage.online.

Example:
  tastemaker publish")]
pub(crate) struct Args {
    /// The generation [default: the champion]
    version: Option<Version>,
}

#[derive(Serialize)]
pub(super) struct Outcome {
    version: u64,
    /// Items with a vector; none if the generation was in Redis already.
    items: Option<u64>,
    /// The share of the exact neighbours that the index finds.
    recall: Option<f64>,
    users: u64,
    before: Option<u64>,
}

impl From<Published> for Outcome {
    fn from(published: Published) -> Self {
        Self {
            version: published.version,
            items: published.items.map(|items| items.written + items.resumed),
            recall: published.index.map(|index| index.recall),
            users: published.users.written + published.users.resumed,
            before: published.before,
        }
    }
}

impl Report for Outcome {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "Generation {} serves from Redis", self.version)?;
        match (self.items, self.recall) {
            (Some(items), Some(recall)) => {
                writeln!(
                    out,
                    ": {} items, recall {recall:.3} of an exact search, {} users.",
                    count(items),
                    count(self.users)
                )?;
            }
            _ => writeln!(out, " again; it was there already.")?,
        }
        match self.before {
            Some(before) => writeln!(out, "Generation {before} stays there for redis.retire_after."),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    logging::start(&config.logging, context)?;
    let config = Arc::new(config);
    let version = match args.version {
        Some(version) => version.0,
        None => champion(&config)?.context("no generation serves; train one with `tastemaker train`")?,
    };
    let follower = tastemaker_server::follower(config)?;
    let outcome = runtime()?.block_on(with_progress(&follower, version, context))?;
    Ok(context.output.print(&outcome)?)
}

pub(super) fn champion(config: &Config) -> Result<Option<u64>> {
    Ok(GenerationStore::open(config.storage.generations_dir()).champion()?.map(|version| version.0))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")
}

pub(super) async fn with_progress(follower: &Follower, version: u64, context: &Context) -> Result<Outcome> {
    let bar = Arc::new(Mutex::new(Progress::new(context.output)));
    let told = {
        let bar = Arc::clone(&bar);
        move |progress: tastemaker_remote::Progress| {
            let (phase, of) = match progress.step {
                Step::Items => ("vectors of items", None),
                Step::Users => ("vectors of users", None),
                Step::Index => ("index", Some(1_000)),
                Step::Cleanup => ("removing what is old", None),
            };
            if let Ok(mut bar) = bar.lock() {
                bar.update(phase, progress.done, of, "");
            }
        }
    };
    Ok(publish(follower, version, told).await?.into())
}
