//! `train`: a new generation from what the log has now.

use std::io::{self, Write};
use std::ops::ControlFlow;

use anyhow::Result;
use serde::Serialize;
use tastemaker_artifacts::{Evaluation, Lineage, ModelInfo, Version};
use tastemaker_training::{Fit, Step, TrainOptions, Verdict, train};

use super::evaluate::write_metrics;
use crate::context::{Context, VERSION};
use crate::interrupt;
use crate::output::{Report, count, seconds};
use crate::progress::Progress;

/// Train a model on the event log and make it serve
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The model is first measured on the latest events, then trained on everything. It serves at once, in a running server too,
unless it is worse than showing what is popular, or worse than the champion on the same events.

Example:
  tastemaker train --set embeddings.rank=128 --set embeddings.iterations=20")]
pub(crate) struct Args {
    /// Keep nothing aside to measure on: half the time, and no idea how good the model is
    #[arg(long)]
    no_holdout: bool,
    /// Publish the generation, but leave the champion as it is
    #[arg(long)]
    no_promote: bool,
    /// Promote it even if the metrics speak against it
    #[arg(long, conflicts_with = "no_promote")]
    force: bool,
}

#[derive(Serialize)]
struct Published {
    version: Version,
    promoted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_promoted_because: Option<String>,
    model: ModelInfo,
    lineage: Lineage,
    evaluation: Option<Evaluation>,
    deleted: Vec<Version>,
}

impl Report for Published {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { version, model, lineage, .. } = self;
        writeln!(
            out,
            "Trained {} of rank {} on {} positive events of {} users with {} items in {}.",
            model.kind,
            model.rank,
            count(lineage.events),
            count(model.users as u64),
            count(model.items as u64),
            seconds(lineage.training_seconds)
        )?;
        if let Some(evaluation) = &self.evaluation {
            writeln!(out)?;
            write_metrics(out, evaluation)?;
            writeln!(out)?;
        }
        match (&self.not_promoted_because, self.promoted) {
            (_, true) => writeln!(out, "Generation {version} is published and serves now.")?,
            (None, false) => writeln!(
                out,
                "Generation {version} is published; `tastemaker models promote {version}` makes it serve."
            )?,
            (Some(reason), false) => writeln!(
                out,
                "Generation {version} is published but not promoted: {reason}. \
                 `tastemaker models promote {version}` makes it serve all the same."
            )?,
        }
        if !self.deleted.is_empty() {
            let deleted: Vec<String> = self.deleted.iter().map(Version::to_string).collect();
            writeln!(out, "Deleted old generations: {} (training.keep_generations).", deleted.join(", "))?;
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    interrupt::listen()?;
    let options = TrainOptions { holdout: !args.no_holdout, promote: !args.no_promote, force: args.force };
    let mut progress = Progress::new(context.output);
    let trained = train(&config, options, VERSION, &mut |step| report_steps(&mut progress, step))?;
    drop(progress);
    let not_promoted_because = match trained.verdict {
        Verdict::Unfit(reason) if !trained.promoted => Some(reason),
        _ => None,
    };
    Ok(context.output.print(&Published {
        version: trained.version,
        promoted: trained.promoted,
        not_promoted_because,
        model: trained.model,
        lineage: trained.lineage,
        evaluation: trained.evaluation,
        deleted: trained.deleted,
    })?)
}

/// Shows where training is, and breaks it off after Ctrl-C.
pub(crate) fn report_steps(progress: &mut Progress, step: Step) -> ControlFlow<()> {
    let (phase, done, of) = match step {
        Step::Reading { records, of } => ("reading the log", records, Some(of)),
        Step::Fitting { fit, done, of } => {
            let phase = match fit {
                Fit::Stopping => "finding when to stop",
                Fit::Holdout => "fitting to measure",
                Fit::Final => "fitting on everything",
            };
            (phase, done as u64, Some(of as u64))
        }
        Step::Measuring { users } => ("measuring users", users as u64, None),
        Step::Indexing { items } => ("indexing items", items as u64, None),
        Step::Publishing => ("publishing", 0, None),
    };
    progress.update(phase, done, of, "");
    if interrupt::interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
