//! The traits that a stage's author implements, and what passes through them. `Q` is the query, shared by all stages and not changed by any;
//! `B` is the batch of candidates, changed by the executor alone.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::StageError;

/// What a failure of a stage does to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The stage is left out, and the answer is marked as degraded.
    Open,
    /// The batch is emptied: nothing that was not checked is served.
    Closed,
}

/// What a stage may know about its run.
#[derive(Debug, Clone, Copy)]
pub struct StageContext {
    pub(crate) deadline: Instant,
}

impl StageContext {
    /// Time left until the stage's deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the deadline has passed; a long synchronous stage asks now and then, and returns what it has.
    pub fn expired(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// A set of candidates with their scores. Columns are the implementor's choice; all of them have [`len`](Batch::len) entries.
pub trait Batch: Send + Sync + Sized {
    /// Number of candidates.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The current scores, one per candidate.
    fn scores(&self) -> &[f32];
    /// Joins what a source found; a candidate that is already there is not there twice afterwards.
    fn append(&mut self, source: &'static str, found: Self);
    /// Replaces the scores. There is one per candidate, and all are finite.
    fn set_scores(&mut self, scorer: &'static str, scores: Vec<f32>);
    /// Keeps just the candidates whose verdict is [`Verdict::Keep`], in their order. There is one verdict per candidate, each with the
    /// filter that gave it.
    fn retain(&mut self, verdicts: &[(&'static str, Verdict)]);
    /// Keeps just these positions, in this order. Each is there, and once.
    fn select(&mut self, selector: &'static str, positions: &[u32]);
    /// Drops every candidate, since `stage` failed and fails closed.
    fn clear(&mut self, stage: &'static str);
}

/// Finds candidates by computing.
pub trait Source<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// Retrieval that fails is made up for by other sources.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    /// Whether it runs even when the budget is spent: for the cheap one that stands in for all others.
    const EVEN_LATE: bool = false;
    /// Finds candidates. `so_far` is what earlier waves found.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn fetch(&self, query: &Q, so_far: &B, context: &StageContext) -> Result<B, StageError>;
}

/// Finds candidates by asking another process. The wave's synchronous stages run while it waits. Needs a Tokio runtime with a timer.
pub trait AsyncSource<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// Retrieval that fails is made up for by other sources.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    /// Finds candidates; dropped at the stage's deadline.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn fetch(
        &self,
        query: &Q,
        so_far: &B,
        context: &StageContext,
    ) -> impl Future<Output = Result<B, StageError>> + Send;
}

/// Whether data was there for one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Found,
    /// There is none, which is a fact about the candidate.
    Missing,
    /// It could not be had, which is a fact about the system.
    Failed,
}

/// What a hydrator returns: data for the whole batch, and for each candidate whether it is real.
#[derive(Debug)]
pub struct Patch<C> {
    /// The data, in the hydrator's own columns.
    pub columns: C,
    /// One entry per candidate.
    pub presence: Vec<Presence>,
}

/// Attaches data to candidates by computing.
pub trait Hydrator<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// No default: what later stages do without the data is the author's to say.
    const ON_FAILURE: OnFailure;
    /// Whether it runs even when the budget is spent: for cheap data without which a filter that fails closed lets nothing pass.
    const EVEN_LATE: bool = false;
    /// The data for one batch.
    type Columns: Send;
    /// Looks the data up.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn hydrate(&self, query: &Q, batch: &B, context: &StageContext) -> Result<Patch<Self::Columns>, StageError>;
    /// Puts it into the batch; it has one presence per candidate.
    fn apply(&self, batch: &mut B, patch: Patch<Self::Columns>);
}

/// Attaches data to candidates by asking another process. Needs a Tokio runtime with a timer.
pub trait AsyncHydrator<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// No default: what later stages do without the data is the author's to say.
    const ON_FAILURE: OnFailure;
    /// The data for one batch.
    type Columns: Send;
    /// Looks the data up; dropped at the stage's deadline.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn hydrate(
        &self,
        query: &Q,
        batch: &B,
        context: &StageContext,
    ) -> impl Future<Output = Result<Patch<Self::Columns>, StageError>> + Send;
    /// Puts it into the batch; it has one presence per candidate.
    fn apply(&self, batch: &mut B, patch: Patch<Self::Columns>);
}

/// What a filter says of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may stay.
    Keep,
    /// It goes, and why, in a few words.
    Drop(&'static str),
}

/// Drops candidates.
pub trait Filter<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// No default: whether an unchecked candidate may be served is the author's to say.
    const ON_FAILURE: OnFailure;
    /// One verdict per candidate.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn keep(&self, query: &Q, batch: &B, context: &StageContext) -> Result<Vec<Verdict>, StageError>;
}

/// Gives candidates scores.
pub trait Scorer<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// Without a scorer, candidates keep the scores they have.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    /// One score per candidate. One that is not finite leaves its candidate's score as it is.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn score(&self, query: &Q, batch: &B, context: &StageContext) -> Result<Vec<f32>, StageError>;
}

/// Chooses and orders candidates. When it fails open, candidates are ordered by score.
pub trait Selector<Q, B>: Send + Sync {
    /// Stable: dashboards and flags depend on it.
    const NAME: &'static str;
    /// Without a selector, candidates come in the order of their scores.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    /// Positions in the batch, best first, each at most once.
    ///
    /// # Errors
    /// Anything; wrap it with [`StageError::failed`].
    fn select(&self, query: &Q, batch: &B, context: &StageContext) -> Result<Vec<u32>, StageError>;
}
