//! `import`: files of events, items and users into the event log, or through a server that has it open.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use tastemaker_config::{Config, FileFormat, FileOptions, TimestampUnit};
use tastemaker_import::Kind;

use crate::context::Context;
use crate::importing::{Http, Imported, Log, import_file};
use crate::interrupt;
use crate::output::{Report, count, plain};

/// Import a file of events, items or users
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Import events: who did what with which item, and when
    #[command(after_help = "\
MovieLens files and user,item,timestamp[,type][,value] need no mapping. Events without an id get one made from their
content, so importing a file twice imports it once.

Example:
  tastemaker import events purchases.csv --user customer --item sku --timestamp bought_at --type purchase")]
    Events {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        columns: EventArgs,
    },
    /// Import items and their attributes
    #[command(after_help = "\
Attributes are those that the project declares under [items.attributes]; other columns are passed over. What the file has no
column for stays as it is.

Example:
  tastemaker import items products.jsonl --id sku --attribute price=unit_price")]
    Items {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        columns: EntityArgs,
    },
    /// Import users and their attributes
    #[command(after_help = "Example:\n  tastemaker import users customers.parquet --id customer")]
    Users {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        columns: EntityArgs,
    },
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// CSV, TSV, JSON lines (each also .gz) or Parquet
    file: PathBuf,
    /// The form of the file [default: told by its name]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates values: one character, or :: [default: told by the first line]
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<String>,
    /// The first line is data already; columns are named 1, 2, 3 …
    #[arg(long)]
    no_header: bool,
    /// The unit of times given as numbers [default: told by their size]
    #[arg(long, value_enum)]
    timestamp_unit: Option<Unit>,
    /// Write the whole report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Send the records to a running server instead of writing the log
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The API key for the server
    #[arg(long, value_name = "KEY", env = "TASTEMAKER_API_KEY", hide_env_values = true, requires = "url")]
    key: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Parquet,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    S,
    Ms,
    Us,
    Ns,
}

#[derive(Debug, clap::Args)]
struct EventArgs {
    /// The column of the user's id
    #[arg(long, value_name = "COLUMN")]
    user: Option<String>,
    /// The column of the item's id
    #[arg(long, value_name = "COLUMN")]
    item: Option<String>,
    /// The column of the time
    #[arg(long, value_name = "COLUMN")]
    timestamp: Option<String>,
    /// The type of every event in the file
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "type_column")]
    event_type: Option<String>,
    /// The column of the type
    #[arg(long, value_name = "COLUMN")]
    type_column: Option<String>,
    /// The column of the value, such as a rating or a price
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// The column of the event's own id
    #[arg(long, value_name = "COLUMN")]
    event_id: Option<String>,
    /// The column of the session
    #[arg(long, value_name = "COLUMN")]
    session: Option<String>,
}

#[derive(Debug, clap::Args)]
struct EntityArgs {
    /// The column of the id
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// An attribute and its column, where the names differ; may be repeated
    #[arg(long, value_name = "NAME=COLUMN")]
    attribute: Vec<String>,
}

impl FileArgs {
    fn lay_over(&self, options: &mut FileOptions) {
        let format = self.format.map(|format| match format {
            Format::Csv => FileFormat::Csv,
            Format::Jsonl => FileFormat::Jsonl,
            Format::Parquet => FileFormat::Parquet,
        });
        let unit = self.timestamp_unit.map(|unit| match unit {
            Unit::S => TimestampUnit::Seconds,
            Unit::Ms => TimestampUnit::Milliseconds,
            Unit::Us => TimestampUnit::Microseconds,
            Unit::Ns => TimestampUnit::Nanoseconds,
        });
        over(&mut options.format, &format);
        over(&mut options.delimiter, &self.delimiter);
        over(&mut options.header, &self.no_header.then_some(false));
        over(&mut options.timestamp_unit, &unit);
    }
}

/// A flag that is given takes the place of the setting.
fn over<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}

impl Args {
    /// Lays the flags over `[import]`, and says what is imported.
    fn lay_over(&self, config: &mut Config) -> Result<(Kind, &FileArgs)> {
        let (kind, mapping, args, file) = match &self.verb {
            Verb::Events { file, columns: args } => {
                let mapping = &mut config.import.events;
                file.lay_over(&mut mapping.file);
                over(&mut mapping.event_type, &args.event_type);
                let columns = &mut mapping.columns;
                over(&mut columns.user, &args.user);
                over(&mut columns.item, &args.item);
                over(&mut columns.timestamp, &args.timestamp);
                over(&mut columns.event_type, &args.type_column);
                over(&mut columns.value, &args.value);
                over(&mut columns.event_id, &args.event_id);
                over(&mut columns.session_id, &args.session);
                if let Some(event_type) = &mapping.event_type {
                    config.events.get(event_type)?;
                }
                return Ok((Kind::Events, file));
            }
            Verb::Items { file, columns } => (Kind::Items, &mut config.import.items, columns, file),
            Verb::Users { file, columns } => (Kind::Users, &mut config.import.users, columns, file),
        };
        let schema = if kind == Kind::Items { config.items.schema() } else { config.users.schema() };
        file.lay_over(&mut mapping.file);
        over(&mut mapping.id, &args.id);
        for pair in &args.attribute {
            let Some((name, column)) =
                pair.split_once('=').filter(|(name, column)| !name.is_empty() && !column.is_empty())
            else {
                bail!("--attribute is '{pair}'; write NAME=COLUMN, such as --attribute price=unit_price");
            };
            if schema.get(name).is_none() {
                let known = schema.fields().iter().map(|(name, _)| name.as_str());
                let section = kind.section();
                bail!(
                    "'{name}' is no declared attribute{}; attributes are declared under [{section}.attributes]",
                    tastemaker_types::did_you_mean(name, known)
                );
            }
            mapping.attributes.insert(name.to_owned(), column.to_owned());
        }
        Ok((kind, file))
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    imported: &'a Imported,
    rows_per_second: f64,
}

impl Report for Shown<'_> {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Imported { file, kind, written, report, interrupted } = self.imported;
        write!(out, "{}: {} {kind} imported", file.display(), count(written.written))?;
        if written.duplicates > 0 {
            write!(out, ", {} were there already", count(written.duplicates))?;
        }
        if written.refused_by_server > 0 {
            write!(out, ", {} refused by the server", count(written.refused_by_server))?;
        }
        if report.refused > 0 {
            write!(out, ", {} rows refused", count(report.refused))?;
        }
        writeln!(out, " ({} rows/s)", count(self.rows_per_second as u64))?;
        for notice in &report.notices {
            writeln!(out, "note: {}", plain(notice))?;
        }
        for (kind, refused) in &report.refused_by {
            writeln!(out, "refused {}: {}", count(*refused), plain(kind))?;
        }
        for refusal in report.refusals.iter().take(10) {
            writeln!(out, "  {}", plain(&refusal.to_string()))?;
        }
        if report.refused > 10 {
            writeln!(out, "  … (--report FILE keeps more)")?;
        }
        if *interrupted {
            writeln!(out, "Interrupted. What is in stays in; run it again to import the rest.")?;
        }
        Ok(())
    }
}

/// The status is 1 when rows came and none was good.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut config = context.load()?.config;
    let (kind, file) = args.lay_over(&mut config)?;
    interrupt::listen()?;
    crate::logging::start_quietly(context);
    let imported = match &file.url {
        Some(url) => import_file(&config, kind, &file.file, &mut Http::new(url, file.key.as_deref())?, context.output)?,
        None => {
            let mut log = Log::open(&config, kind != Kind::Events)?;
            let imported = import_file(&config, kind, &file.file, &mut log, context.output)?;
            log.close()?;
            imported
        }
    };
    let shown = Shown { rows_per_second: imported.report.rows_per_second(), imported: &imported };
    if let Some(path) = &file.report {
        let content = serde_json::to_vec_pretty(&shown)?;
        fs_err::write(path, content).context("the file is imported, but its report could not be written")?;
    }
    context.output.print(&shown)?;
    Ok(match () {
        () if imported.interrupted => ExitCode::from(interrupt::EXIT_STATUS),
        () if imported.report.rows > 0 && imported.report.accepted == 0 => ExitCode::FAILURE,
        () => ExitCode::SUCCESS,
    })
}
