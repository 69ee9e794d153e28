//! How far materialization is, in `materialized.json` beside the log. Without the file everything is read again, and nothing is written twice.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tastemaker_types::Timestamp;

const FILE: &str = "materialized.json";

/// By view and target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    views: BTreeMap<String, ViewState>,
}

/// How far one view is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ViewState {
    /// The columns that were read. With others all begins anew: what was read has no values of new ones.
    #[serde(default)]
    columns: String,
    /// The latest event or created time of the rows that were read; none for a query, of which every row is read.
    pub(super) read_through: Option<Timestamp>,
    /// The files of which all rows up to then were read.
    #[serde(default)]
    source: Option<u64>,
    /// A run that was broken off.
    pub(super) run: Option<Run>,
}

/// One run over the chunks of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    /// The files that it reads: it does not go on when they have changed.
    pub(super) source: u64,
    pub(super) full: bool,
    /// Rows from before are not read.
    pub(super) since: Option<Timestamp>,
    /// Rows of the future are not read.
    pub(super) as_of: Timestamp,
    pub(super) chunks: u32,
    /// Those before are done.
    pub(super) next_chunk: u32,
    /// The latest time that was read so far.
    pub(super) latest: Option<Timestamp>,
    /// Of a view with a query: what the files are the answer to.
    #[serde(default)]
    pub(super) answer: Option<Answer>,
}

/// A query that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) query: String,
    /// Whether its rows hold since it ran.
    pub(super) timeless: bool,
}

impl ViewState {
    /// The time from which on rows of these files may be new. Files that have changed may have more rows of the latest time that was read, and where
    /// rows do not say when they were created, of any time.
    pub(super) fn since(&self, source: u64, has_created: bool) -> Option<Timestamp> {
        let later = |read: Timestamp| Timestamp::from_micros(read.as_micros().saturating_add(1));
        match self.read_through {
            read if self.source == Some(source) => read.map(later),
            read => read.filter(|_| has_created),
        }
    }

    /// The run was through all of its rows.
    pub(super) fn finish(&mut self, run: Run) {
        self.read_through = run.latest.filter(|_| run.answer.is_none());
        (self.source, self.run) = (Some(run.source), None);
    }
}

impl State {
    pub(super) fn read(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be read; delete it to read every row again", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Has all of a view read again: what was written is not there any more.
    pub(super) fn forget(&mut self, key: &str) {
        if let Some(state) = self.views.get_mut(key).filter(|state| state.run.is_none()) {
            *state = ViewState::default();
        }
    }

    /// How far the view of this key is with these columns.
    pub(super) fn view(&mut self, key: &str, columns: &str) -> &mut ViewState {
        let state = self.views.entry(key.to_owned()).or_default();
        if state.columns != columns {
            *state = ViewState { columns: columns.to_owned(), ..ViewState::default() };
        }
        state
    }

    /// Replaces the file, which is whole at any time.
    pub(super) fn write(&self, data_dir: &Path) -> Result<()> {
        fs_err::create_dir_all(data_dir)?;
        let (fresh, path) = (data_dir.join(format!("{FILE}.new")), data_dir.join(FILE));
        let mut file = fs_err::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs_err::rename(&fresh, &path)?;
        fs_err::File::open(data_dir)?.sync_all()?;
        Ok(())
    }
}
