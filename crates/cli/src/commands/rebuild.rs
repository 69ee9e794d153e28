//! `rebuild`: everything that Redis should have, written again from the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use serde::Serialize;
use tastemaker_remote::rebuild;

use super::publish;
use crate::context::Context;
use crate::logging;
use crate::output::{Report, count};
use crate::progress::Progress;

/// Write everything to Redis again, from the log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For a Redis that lost data, or that was filled from another log. Every user and item is written as the log has them, those that the log does not
know are removed, and the champion is published. Works beside a running server. Needs storage.online.

Example:
  tastemaker rebuild")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Outcome {
    written: usize,
    removed: usize,
    generation: Option<publish::Outcome>,
}

impl Report for Outcome {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (written, removed) = (count(self.written as u64), count(self.removed as u64));
        writeln!(out, "Wrote {written} users and items to Redis, removed {removed} that the log does not know.")?;
        self.generation.as_ref().map_or(Ok(()), |generation| generation.text(out))
    }
}

pub(crate) fn run(_: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    logging::start(&config.logging, context)?;
    let config = Arc::new(config);
    let champion = publish::champion(&config)?;
    let follower = tastemaker_server::follower(config)?;
    let outcome = publish::runtime()?.block_on(async {
        let rebuilt = {
            let bar = Mutex::new(Progress::new(context.output));
            let progress = |done: usize| {
                if let Ok(mut bar) = bar.lock() {
                    bar.update("users and items", done as u64, None, "");
                }
            };
            rebuild(&follower, progress).await?
        };
        let generation = match champion {
            Some(champion) => Some(publish::with_progress(&follower, champion, context).await?),
            None => None,
        };
        anyhow::Ok(Outcome { written: rebuilt.written, removed: rebuilt.removed, generation })
    })?;
    Ok(context.output.print(&outcome)?)
}
