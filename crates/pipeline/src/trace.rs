//! What happened in one run: one entry per stage, in the order they were declared, returned by value.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::StageError;

/// Which trait a stage implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// Finds candidates.
    Source,
    /// Attaches data to candidates.
    Hydrator,
    /// Drops candidates.
    Filter,
    /// Gives candidates scores.
    Scorer,
    /// Chooses and orders candidates.
    Selector,
}

/// How a stage ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "status", content = "error")]
pub enum StageStatus {
    /// In time.
    Ok,
    /// With a result, but past its deadline.
    Late,
    /// Not run: the budget was spent.
    Skipped,
    /// With an error.
    #[serde(serialize_with = "as_text")]
    Failed(StageError),
}

fn as_text<S: Serializer>(error: &StageError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

impl StageStatus {
    /// Why the stage took no part in the answer, in one word: `budget`, or the [reason](StageError::reason) of its error.
    pub fn missing(&self) -> Option<&'static str> {
        match self {
            Self::Ok | Self::Late => None,
            Self::Skipped => Some("budget"),
            Self::Failed(error) => Some(error.reason()),
        }
    }
}

/// One stage of one run.
#[derive(Debug, Serialize)]
pub struct StageTrace {
    /// Its name.
    pub stage: &'static str,
    /// Its trait.
    pub kind: StageKind,
    /// The wave it ran in, from 0.
    pub wave: usize,
    /// Wall time from its start to its result, in seconds.
    pub seconds: f64,
    /// Candidates when it began.
    pub candidates_in: usize,
    /// Candidates a source found, a filter kept, a scorer scored with a finite number, a hydrator found data for, or a selector chose.
    pub candidates_out: usize,
    /// How it ended.
    #[serde(flatten)]
    pub status: StageStatus,
}

/// One run of a pipeline.
#[derive(Debug, Default, Serialize)]
pub struct Trace {
    /// Wall time of the run, in seconds.
    pub seconds: f64,
    /// What the run was given, in seconds.
    pub budget_seconds: f64,
    /// Every declared stage, in order.
    pub stages: Vec<StageTrace>,
}

impl Trace {
    /// The stages that took no part in the answer or not their whole part, each with one word why. A selector that is late has ended before it
    /// was done; other stages that are late have taken their time and done their part.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.stages.iter().filter_map(|stage| match (stage.kind, &stage.status) {
            (StageKind::Selector, StageStatus::Late) => Some((stage.stage, "late")),
            (_, status) => Some((stage.stage, status.missing()?)),
        })
    }

    /// The first entry of the stage of this name.
    pub fn stage(&self, name: &str) -> Option<&StageTrace> {
        self.stages.iter().find(|stage| stage.stage == name)
    }

    pub(crate) fn finish(&mut self, elapsed: Duration, budget: Duration) {
        self.seconds = elapsed.as_secs_f64();
        self.budget_seconds = budget.as_secs_f64();
    }
}
