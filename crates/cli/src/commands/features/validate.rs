//! `features validate`: were answers made with what the log comes to?

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tastemaker_features::offline::{Compared, Validation, ValidationOptions};
use tastemaker_types::{Position, Timestamp};

use super::{compile, open_log, show};
use crate::context::Context;
use crate::interrupt;
use crate::output::{Report, count, table, write_table};
use crate::progress::Progress;

/// Compute the features that answers were made with again from the log, and compare them bit by bit
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works beside a running server. Compares the answers whose features were logged, which is the share recommend.log_features of
them. The exit status is 1 if a value differs, or if fewer were compared than --at-least says.

Examples:
  tastemaker features validate --metrics /var/lib/node_exporter/tastemaker.prom
  tastemaker features validate --at-least 100000     # in CI")]
pub(crate) struct Args {
    /// The share of these answers to compare
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    sample: f64,
    /// Only answers made at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Fail if fewer values were compared
    #[arg(long, value_name = "VALUES", default_value_t = 0)]
    at_least: u64,
    /// Write what was found to this file as Prometheus metrics, for a textfile collector
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a Validation);

impl Report for Shown<'_> {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Validation { answers, with_values, compared, values, mismatches, features, skipped, missed, .. } = self.0;
        if !features.is_empty() {
            let header = ["feature", "compared", "different", "null then", "null now", "largest difference"];
            let mut found = table(header, [false, true, true, true, true, true]);
            for (name, feature) in features {
                found.add_row([
                    name.clone(),
                    count(feature.compared),
                    count(feature.mismatches),
                    count(feature.logged_nulls),
                    count(feature.replayed_nulls),
                    feature.largest_difference.map_or_else(String::new, |difference| format!("{difference:e}")),
                ]);
            }
            write_table(out, &found)?;
        }
        for (name, feature) in features {
            if let Some(first) = &feature.first {
                let shown = |value: &_| serde_json::to_string(value).unwrap_or_default();
                writeln!(
                    out,
                    "{name} first differs in request {}, item {}: {} then, {} by the log",
                    first.request_id,
                    first.item_id,
                    shown(&first.logged),
                    shown(&first.replayed)
                )?;
            }
        }
        for (name, skipped) in skipped {
            writeln!(out, "skipped {} values of {name}: {}", count(skipped.values), skipped.reason)?;
        }
        for (reason, answers) in missed {
            writeln!(out, "left out {} answers: {reason}", count(*answers))?;
        }
        let of = format!("{} answers, {} of them with values", count(*answers), count(*with_values));
        match (*values, *mismatches) {
            (0, _) => writeln!(out, "Nothing was compared ({of}); see recommend.log_features."),
            (values, 0) => {
                writeln!(out, "All {} values of {} answers are the same ({of}).", count(values), count(*compared))
            }
            (values, different) => {
                writeln!(
                    out,
                    "{} of {} values differ, of {} answers ({of}).",
                    count(different),
                    count(values),
                    compared
                )
            }
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    ensure!((0.0..=1.0).contains(&args.sample), "--sample is {}; give a share from 0 to 1", args.sample);
    let config = context.load()?.config;
    let set = compile(&config)?;
    interrupt::listen()?;
    let options = ValidationOptions { sample: args.sample, since: args.since, from: Position(0) };
    let mut progress = Progress::new(context.output);
    let validation = Validation::run(&set, &open_log(&config)?, &options, |step| show(&mut progress, step))?;
    drop(progress);
    if let Some(path) = &args.metrics {
        write_metrics(path, &validation).with_context(|| format!("cannot write {}", path.display()))?;
    }
    context.output.print(&Shown(&validation))?;
    ensure!(
        validation.values >= args.at_least,
        "{} values were compared, and --at-least asks for {}; more answers are logged with recommend.log_features = 1",
        count(validation.values),
        count(args.at_least)
    );
    Ok(if validation.mismatches == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Replaces the file at once, as collectors ask for.
fn write_metrics(path: &Path, validation: &Validation) -> io::Result<()> {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, value: fn(&Compared) -> u64| {
        let name = format!("tastemaker_feature_validation_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (feature, found) in &validation.features {
            // Names of features are letters, digits, underscores and a dot.
            let _ = writeln!(text, "{name}{{feature=\"{feature}\"}} {}", value(found));
        }
    };
    family("mismatches", "Values that answers were made with and that the log does not come to.", |f| f.mismatches);
    family("values", "Values that answers were made with and that were compared with the log.", |f| f.compared);
    let name = "tastemaker_feature_validation_timestamp_seconds";
    let _ = writeln!(text, "# HELP {name} When the last validation ended.\n# TYPE {name} gauge");
    let _ = writeln!(text, "{name} {}", Timestamp::now().as_seconds());
    let fresh = path.with_extension(format!("{}.tmp", std::process::id()));
    fs_err::write(&fresh, text)?;
    fs_err::rename(&fresh, path)
}
