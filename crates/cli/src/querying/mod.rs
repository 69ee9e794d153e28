//! A query in SQL, from what the person typed to rows on stdout or in a file; [`view`] has those of feature views.

mod features;
pub(crate) mod view;

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use tastemaker_config::Config;
use tastemaker_features::offline::Present;
use tastemaker_features::set::FeatureSet;
use tastemaker_log::LogReader;
use tastemaker_sql::output::{cells, write_json, write_parquet};
use tastemaker_sql::{BatchEngine, DataFusionEngine, Limits, Rows, project_tables};
use tastemaker_types::Timestamp;

use self::features::Features;
use crate::commands::sql::Args;
use crate::context::Context;
use crate::interrupt::{interrupted, listen};
use crate::output::{Report, bytes, count, write_table};

/// Rows of a printed table, unless more are asked for.
const ROWS_PRINTED: usize = 100;
/// The longest query, in bytes.
const MAX_QUERY: u64 = 1 << 20;

#[derive(Serialize)]
struct Wrote {
    out: PathBuf,
    rows: u64,
    bytes: u64,
}

impl Report for Wrote {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Wrote {} rows to {} ({}).", count(self.rows), self.out.display(), bytes(self.bytes))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = context.load()?.config;
    let query = match &args.file {
        Some(path) => read(path)?,
        None => args.query.clone().unwrap_or_default(),
    };
    ensure!(query.len() as u64 <= MAX_QUERY, "the query is longer than {}; make it shorter", bytes(MAX_QUERY));
    let engine = engine(&config)?;
    listen()?;
    let printed = args.limit.unwrap_or(ROWS_PRINTED);
    let rows = match args.out.is_some() || context.output.json {
        true => args.limit,
        // One more than is printed, to know whether there are more.
        false => Some(printed.saturating_add(1)),
    };
    let limits = Limits { memory_bytes: args.memory.as_usize(), rows, cancelled: interrupted };
    let answer = engine.query(&query, &limits)?;
    if let Some(out) = &args.out {
        let written = write_parquet(answer, out)?;
        return Ok(context.output.print(&Wrote { out: out.clone(), rows: written.rows, bytes: written.bytes })?);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match context.output.json {
        true => write_json(answer, &mut out)?,
        false => print(answer, printed, &mut out)?,
    }
    Ok(out.flush()?)
}

/// An engine over the project's tables, all as the log is now.
fn engine(config: &Config) -> Result<DataFusionEngine> {
    let log = LogReader::open(config.storage.log_dir())?;
    let end = log.end()?;
    let mut engine = DataFusionEngine::new().context("the query engine cannot be started")?;
    for (name, table) in project_tables(&log, end, config.items.schema(), config.users.schema()) {
        engine.register(name, table);
    }
    let set = Arc::new(FeatureSet::compile(config)?);
    let present = Present { set, log, end, now: Timestamp::now(), work_dir: std::env::temp_dir() };
    for (name, shape) in features::TABLES {
        engine.register(name, Arc::new(Features { present: present.clone(), shape }));
    }
    Ok(engine)
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let read = file.take(MAX_QUERY + 1).read_to_string(&mut text);
    read.with_context(|| format!("could not read {} as text", path.display()))?;
    Ok(text)
}

/// The first rows as a table.
fn print(answer: Rows, printed: usize, out: &mut dyn Write) -> Result<()> {
    let schema = answer.schema();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(schema.fields().iter().map(|field| field.name().clone()));
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        let number = field.data_type().is_numeric();
        column.set_cell_alignment(if number { CellAlignment::Right } else { CellAlignment::Left });
        column.set_padding((0, 2));
    }
    let mut more = false;
    for batch in answer {
        for row in cells(&batch?)? {
            more = table.row_count() >= printed;
            if !more {
                table.add_row(row);
            }
        }
    }
    write_table(out, &table)?;
    if more {
        writeln!(out, "There are more rows: see more with --limit, or all with --json or --out.")?;
    }
    Ok(())
}
