//! `sql`: a query over the project's tables. The engine is compiled in with the feature `sql`; without it the verb says how to
//! get it.

use std::path::PathBuf;

use anyhow::Result;
use tastemaker_config::ByteSize;

use crate::context::Context;

/// What a build without the engine has to say.
#[cfg(not(feature = "sql"))]
pub(crate) const NO_SQL: &str = "answers no SQL; make one that does, in the repository: \
                                 cargo install --path crates/cli --features sql";

/// Answer a query in SQL over events, items, users, recommendations and features; changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The tables are events, items, users and recommendations, and features, user_features, item_features and pair_features, all as
the log is now; `describe items` lists columns. With --json, rows come as JSON lines.

Example:
  tastemaker sql \"select type, count(*) from events group by type\"
  tastemaker sql --file report.sql --out report.parquet")]
pub(crate) struct Args {
    /// The query
    #[arg(value_name = "QUERY", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) query: Option<String>,
    /// Read the query from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write the answer to this Parquet file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The most rows of the answer [default: 100 in a printed table, else all]
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<usize>,
    /// Memory for what the query collects; beyond it, sorting and grouping go on in temporary files
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) memory: ByteSize,
}

#[cfg(feature = "sql")]
pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    crate::querying::run(args, context)
}

#[cfg(not(feature = "sql"))]
pub(crate) fn run(_: &Args, _: &Context) -> Result<()> {
    anyhow::bail!("this build of tastemaker {NO_SQL}")
}
