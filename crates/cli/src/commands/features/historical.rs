//! `features historical`: features as they were, for training.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;
use tastemaker_config::{Config, Entity};
use tastemaker_features::offline::{Historical, HistoricalOptions, OfflineError, ServedRows, request_ids};
use tastemaker_features::set::{FeatureId, FeatureSet, SharedFeatures, Source};
use tastemaker_features::table::{EntityRows, FeatureWriter};

use super::{compile, open_log, show};
use crate::context::Context;
use crate::interrupt;
use crate::output::{Report, count, seconds};
use crate::progress::Progress;

/// Write features as they were at the times of a file of rows, or as answers were made with them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works beside a running server. Rows name a user_id, an item_id or both, and an event_timestamp (or timestamp); their other
columns, such as a label, are kept.

Example:
  tastemaker features historical --entities rows.parquet --features clicks_7d,item.ctr --out training.parquet")]
pub(crate) struct Args {
    /// Rows of entities and times: Parquet or CSV
    #[arg(long, value_name = "FILE", required_unless_present_any = ["requests", "served"])]
    entities: Option<PathBuf>,
    /// The answers whose request_id is in this file (Parquet or CSV), as they were made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["entities", "served"])]
    requests: Option<PathBuf>,
    /// All answers, as they were made
    #[arg(long, conflicts_with = "entities")]
    served: bool,
    /// The features, separated by commas [default: all but embeddings]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "service")]
    features: Vec<String>,
    /// The features of this feature service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The file to write: .parquet or .arrow
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Beside each feature NAME, write why it has no value as NAME__status
    #[arg(long)]
    statuses: bool,
    /// Let rows of tables count that were created after the time in question (a model then learns from what it will not see)
    #[arg(long, conflicts_with_all = ["requests", "served"])]
    include_late: bool,
}

#[derive(Serialize)]
struct Written {
    out: PathBuf,
    rows: u64,
    features: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Report for Written {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let rate = count((self.rows as f64 / self.seconds.max(0.001)) as u64);
        writeln!(
            out,
            "Wrote {} rows with {} features to {} in {} ({rate} rows/s).",
            count(self.rows),
            self.features,
            self.out.display(),
            seconds(self.seconds)
        )?;
        self.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    let set = compile(&config)?;
    let wanted = wanted(args, &set)?;
    interrupt::listen()?;
    let started = Instant::now();
    let features = wanted.len();
    let (rows, warnings) = match &args.entities {
        Some(entities) => at_times(args, &config, &set, wanted, entities, context)?,
        None => as_served(args, &config, &set, &wanted, context)?,
    };
    let out = args.out.clone();
    let seconds = started.elapsed().as_secs_f64();
    Ok(context.output.print(&Written { out, rows, features, seconds, warnings })?)
}

fn wanted(args: &Args, set: &FeatureSet) -> Result<Vec<FeatureId>> {
    if let Some(service) = &args.service {
        return Ok(set.service(service).map_err(|message| anyhow!("--service: {message}"))?.to_vec());
    }
    if !args.features.is_empty() {
        let resolve = |name: &String| set.by_reference(name.trim()).map_err(|message| anyhow!("--features: {message}"));
        return args.features.iter().map(resolve).collect();
    }
    let declared = set.features().iter().enumerate();
    let declared: Vec<FeatureId> =
        declared.filter(|(_, feature)| feature.source != Source::Embedding).map(|(id, _)| FeatureId(id)).collect();
    if declared.is_empty() {
        bail!("the project declares no features; add [[features]] or [[feature_views]] to it");
    }
    match &args.entities {
        Some(entities) => of_columns(set, declared, entities),
        None => Ok(declared),
    }
}

/// Those of the features that the file has the keys for.
fn of_columns(set: &FeatureSet, declared: Vec<FeatureId>, entities: &Path) -> Result<Vec<FeatureId>> {
    let rows = EntityRows::open(entities, 1)?;
    let has = |column: &str| rows.schema().column_with_name(column).is_some();
    let (users, items) = (has("user_id"), has("item_id"));
    let answerable = |id: &FeatureId| match set.feature(*id).map(|feature| feature.entity) {
        Some(Entity::User) => users,
        Some(Entity::Item) => items,
        Some(Entity::Pair) => users && items,
        None => false,
    };
    let wanted: Vec<FeatureId> = declared.into_iter().filter(answerable).collect();
    if wanted.is_empty() {
        bail!("no feature is about what {} has; it needs a column user_id, item_id, or both", entities.display());
    }
    Ok(wanted)
}

fn at_times(
    args: &Args,
    config: &Config,
    set: &SharedFeatures,
    wanted: Vec<FeatureId>,
    entities: &Path,
    context: &Context,
) -> Result<(u64, Vec<String>)> {
    let options = HistoricalOptions {
        include_late: args.include_late,
        statuses: args.statuses,
        work_dir: folder_of(&args.out).to_owned(),
    };
    let log = config.storage.log_dir().is_dir().then(|| open_log(config)).transpose()?;
    let historical = Historical::new(set, wanted, &config.feature_views, log, options)?;
    let entity_rows = EntityRows::open(entities, historical.chunk_rows())?;
    let mut writer = FeatureWriter::create(&args.out, historical.schema(entity_rows.schema()))?;
    let mut progress = Progress::new(context.output);
    for chunk in entity_rows {
        let chunk = historical.chunk(chunk?, &mut |step| show(&mut progress, step))?;
        chunk.write(|batch| writer.write(batch).map_err(OfflineError::from))?;
    }
    drop(progress);
    let unknowable = historical.unknowable().into_iter();
    Ok((writer.finish()?, unknowable.map(|(name, why)| format!("{name} is NULL: {why}")).collect()))
}

fn as_served(
    args: &Args,
    config: &Config,
    set: &SharedFeatures,
    wanted: &[FeatureId],
    context: &Context,
) -> Result<(u64, Vec<String>)> {
    let requests = args.requests.as_deref().map(request_ids).transpose()?;
    let served = ServedRows::new(set, wanted, args.statuses, requests);
    let mut writer = FeatureWriter::create(&args.out, served.schema())?;
    let mut progress = Progress::new(context.output);
    let write = |batch: &_| writer.write(batch).map_err(OfflineError::from);
    let report = served.write(&open_log(config)?, write, |step| show(&mut progress, step))?;
    drop(progress);
    let mut warnings: BTreeMap<String, u64> = report
        .missed
        .into_iter()
        .map(|(reason, answers)| (format!("answers were left out: {reason}"), answers))
        .collect();
    if report.forgotten > 0 {
        warnings.insert("answers were left out: their users were deleted afterwards".to_owned(), report.forgotten);
    }
    if report.not_found > 0 {
        warnings.insert("request ids are of no answer that was made with features".to_owned(), report.not_found);
    }
    for (name, rows) in report.not_logged {
        let why = "a generation makes it, and it was not logged with their answers (recommend.features, recommend.log_features)";
        warnings.insert(format!("rows have no {name}: {why}"), rows);
    }
    let warnings = warnings.into_iter().map(|(what, number)| format!("{} {what}", count(number)));
    Ok((writer.finish()?, warnings.collect()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
