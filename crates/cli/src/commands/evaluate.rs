//! `evaluate`: how the model would do, measured on the latest events, beside showing what is popular.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use tastemaker_artifacts::{Evaluation, ModelInfo};
use tastemaker_training::evaluate;

use super::train::report_steps;
use crate::context::Context;
use crate::output::{Report, count, table, write_table};
use crate::progress::Progress;

/// Measure the model on the latest events, beside what is popular; stores nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The latest events by time (training.holdout) are kept aside, a model is fitted on the others, and its recommendations
for each user are compared with what they did later. Change settings with --set until the figures please you.

Example:
  tastemaker evaluate --set embeddings.rank=128 --set embeddings.unobserved_weight=0.05")]
pub(crate) struct Args {
    /// The share of events to keep aside, the latest by time [default: training.holdout]
    #[arg(long, value_name = "SHARE")]
    holdout: Option<f64>,
    /// Look at the first this many recommendations [default: training.metrics_at]
    #[arg(long, value_name = "K")]
    at: Option<usize>,
}

#[derive(Serialize)]
struct Measured {
    events: u64,
    model: ModelInfo,
    evaluation: Evaluation,
}

impl Report for Measured {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { events, model, .. } = self;
        writeln!(
            out,
            "{} rank {} on {} positive events of {} users with {} items",
            model.kind,
            model.rank,
            count(*events),
            count(model.users as u64),
            count(model.items as u64)
        )?;
        write_metrics(out, &self.evaluation)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut config = context.load()?.config;
    if let Some(holdout) = args.holdout {
        anyhow::ensure!(holdout > 0.0 && holdout <= 0.9, "--holdout is {holdout}; give a share above 0 and up to 0.9");
        config.training.holdout = holdout;
    }
    if let Some(at) = args.at {
        anyhow::ensure!((1..=1_000).contains(&at), "--at is {at}; give a number from 1 to 1000");
        config.training.metrics_at = at;
    }
    crate::interrupt::listen()?;
    let mut progress = Progress::new(context.output);
    let evaluated = evaluate(&config, &mut |step| report_steps(&mut progress, step))?;
    drop(progress);
    let measured = Measured { events: evaluated.events, model: evaluated.model, evaluation: evaluated.evaluation };
    Ok(context.output.print(&measured)?)
}

/// The metrics of the model and of popularity side by side, and how many times better the model is.
pub(crate) fn write_metrics(out: &mut dyn Write, evaluation: &Evaluation) -> io::Result<()> {
    let mut metrics = table(["metric", "model", "popularity", ""], [false, true, true, true]);
    for name in ["recall", "ndcg", "map", "coverage", "novelty", "diversity"] {
        let prefix = format!("{name}@");
        for (metric, value) in evaluation.model.iter().filter(|(metric, _)| metric.starts_with(&prefix)) {
            let popular = evaluation.popularity.get(metric).copied().unwrap_or(f64::NAN);
            let times = match value / popular {
                ratio if ratio.is_finite() => format!("{ratio:.1}×"),
                _ => String::new(),
            };
            metrics.add_row([metric.clone(), figure(*value), figure(popular), times]);
        }
    }
    write_table(out, &metrics)?;
    writeln!(
        out,
        "Measured on what {} users did from {} on, the latest {:.0} % of the events.",
        count(evaluation.users as u64),
        evaluation.cutoff.utc_date(),
        evaluation.holdout * 100.0
    )
}

/// Four digits; what is rounded to zero has no sign.
fn figure(value: f64) -> String {
    let figure = format!("{value:.4}");
    if figure == "-0.0000" { "0.0000".to_owned() } else { figure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rounded_to_zero_has_no_sign() {
        assert_eq!([-0.000_01, 0.0, -0.25, 0.123_45].map(figure), ["0.0000", "0.0000", "-0.2500", "0.1235"]);
    }
}
