//! The query of a feature view: its answer goes to a file, which is then a table like any other.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tastemaker_config::{Config, FeatureViewConfig};
use tastemaker_features::offline::table_source_at;
use tastemaker_sql::output::{OutputError, write_parquet};
use tastemaker_sql::{BatchEngine, Limits, QueryError};
use tastemaker_types::Timestamp;

use super::{MAX_QUERY, engine, read};
use crate::interrupt::interrupted;
use crate::output::bytes;

/// What became of the query.
pub(crate) enum Answered {
    /// The file has its answer.
    Whole {
        /// Whether it has no event times of its own, so that rows hold since the query ran.
        timeless: bool,
    },
    /// Ctrl-C came first.
    Interrupted,
}

/// The text of the query, from the project file or from a file of its own.
pub(crate) fn text(view: &FeatureViewConfig) -> Result<String> {
    let query = match &view.query_file {
        Some(path) => read(path).with_context(|| of(view))?,
        None => view.query.clone().unwrap_or_default(),
    };
    ensure!(query.len() as u64 <= MAX_QUERY, "{} is longer than {}; make it shorter", of(view), bytes(MAX_QUERY));
    Ok(query)
}

/// Writes the answer to `out`, whole or not at all, once it is clear that it has the columns of the view.
pub(crate) fn answer(
    config: &Config,
    view: &FeatureViewConfig,
    query: &str,
    memory_bytes: usize,
    out: &Path,
) -> Result<Answered> {
    let engine = engine(config)?;
    // After the tables were fixed: nothing in them is of later.
    let now = Timestamp::now();
    let limits = Limits { memory_bytes, rows: None, cancelled: interrupted };
    let mut rows = match engine.query(query, &limits) {
        Err(QueryError::Cancelled) => return Ok(Answered::Interrupted),
        other => other.with_context(|| of(view))?,
    };
    let time_column = &view.event_time_column;
    let timeless =
        time_column == FeatureViewConfig::EVENT_TIME_COLUMN && rows.schema().column_with_name(time_column).is_none();
    if timeless {
        rows = rows.with_time(time_column, now);
    }
    table_source_at(view, out).check_columns(&of(view), &rows.schema())?;
    match write_parquet(rows, out) {
        Ok(_) => Ok(Answered::Whole { timeless }),
        Err(OutputError::Query(QueryError::Cancelled)) => Ok(Answered::Interrupted),
        Err(error) => Err(error).with_context(|| of(view)),
    }
}

fn of(view: &FeatureViewConfig) -> String {
    format!("the query of the feature view '{}'", view.name)
}
