//! Where the rows of a view come from: a table of the user's own, or the answer to its query, which is a table in the data folder until all
//! of it is in.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tastemaker_config::FeatureViewConfig;
use tastemaker_features::offline::table_source;
use tastemaker_features::table::Table;

use super::Target;
use super::state::{Answer, Run};

/// Answers to queries, below the data folder.
#[cfg(feature = "sql")]
const FOLDER: &str = "materializing";

/// The rows of a view.
pub(super) struct Source {
    pub(super) table: Table,
    /// If it is the answer to a query: which.
    pub(super) answer: Option<Answer>,
    /// The file that is needed no more when all is in.
    file: Option<PathBuf>,
}

impl Source {
    /// Opens the table of a view, or answers its query, unless the answer that a run did not bring in to its end is still there. None if
    /// Ctrl-C comes first.
    pub(super) fn open(
        view: &FeatureViewConfig,
        broken_off: Option<&Run>,
        target: &Target<'_>,
    ) -> Result<Option<Self>> {
        if view.is_query() {
            return Self::answered(view, broken_off, target);
        }
        let source = table_source(view).with_context(|| format!("the feature view '{}' has no path", view.name))?;
        Ok(Some(Self { table: Table::open(&source)?, answer: None, file: None }))
    }

    #[cfg(feature = "sql")]
    fn answered(view: &FeatureViewConfig, broken_off: Option<&Run>, target: &Target<'_>) -> Result<Option<Self>> {
        use crate::querying::view::{Answered, answer, text};
        use tastemaker_features::offline::table_source_at;

        let query = text(view)?;
        let file = target.config.storage.data_dir.join(FOLDER).join(format!("{}.parquet", view.name));
        let source = table_source_at(view, &file);
        let there = broken_off.and_then(|run| {
            let answer = run.answer.clone().filter(|answer| answer.query == query)?;
            let table = Table::open(&source).ok().filter(|table| table.fingerprint() == run.source)?;
            Some((table, answer))
        });
        let (table, answer) = match there {
            Some(there) => there,
            None => match answer(target.config, view, &query, target.memory_bytes, &file)? {
                Answered::Interrupted => return Ok(None),
                Answered::Whole { timeless } => (Table::open(&source)?, Answer { query, timeless }),
            },
        };
        Ok(Some(Self { table, answer: Some(answer), file: Some(file) }))
    }

    #[cfg(not(feature = "sql"))]
    fn answered(view: &FeatureViewConfig, _: Option<&Run>, _: &Target<'_>) -> Result<Option<Self>> {
        anyhow::bail!("the feature view '{}' is a query, and this build {}", view.name, crate::commands::sql::NO_SQL)
    }

    /// All of it is in. An answer that cannot be removed is replaced by the next one.
    pub(super) fn done(self) {
        if let Some(file) = self.file {
            let _ = std::fs::remove_file(&file);
            let _ = std::fs::remove_dir(file.parent().unwrap_or(Path::new("")));
        }
    }
}
