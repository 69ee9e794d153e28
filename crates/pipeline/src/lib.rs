//! Stages and their executor, for any query and batch type: sources, hydrators, filters, scorers and a selector run in explicit waves,
//! each with a deadline inside one budget, a policy for its failure, checks of what it returned, timings, metrics and a trace that is
//! returned by value. What is recommended, and how, is not known here.
//!
//! An author implements one hook of one trait ([`Source::fetch`], [`Hydrator::hydrate`], [`Filter::keep`], [`Scorer::score`],
//! [`Selector::select`]); everything around it is the executor's.
//!
//! # Semantics
//! * **Waves.** Stages of one wave see the batch as it was when the wave began, and never each other's results. Sources' batches are
//!   appended, hydrators' patches applied and filters' verdicts joined (dropped by any is dropped) in the order of declaration. A scorer or a
//!   selector is a wave of its own.
//! * **Failure.** An error, a panic, a result of the wrong length or a deadline that passed makes the stage fail. A stage that fails
//!   open is left out and the answer is *degraded*; one that fails closed empties the batch: what could not be checked is not served.
//! * **Budget.** Before each stage the executor looks at the clock: a stage that fails open is skipped when the budget is spent, unless it is a
//!   source or a hydrator that says otherwise ([`Source::EVEN_LATE`], [`Hydrator::EVEN_LATE`]); one that fails closed always runs. An
//!   asynchronous stage is cut off at its deadline.
//!   A synchronous one cannot be, so it is marked late and its result, which is already paid for, is used.
//! * **Scores** are finite: a candidate whose new score is not keeps the score it had, and the trace counts it.
//!
//! # Metrics
//! `tastemaker_stage_duration_seconds{stage}` (histogram) and `tastemaker_stage_failures_total{stage}`, recorded here and nowhere else.

mod error;
mod executor;
mod order;
mod slot;
mod stage;
mod trace;

pub use error::StageError;
pub use executor::{Filters, Hydrators, Outcome, Pipeline, Sources};
pub use order::{by_score, rank};
pub use stage::{
    AsyncHydrator, AsyncSource, Batch, Filter, Hydrator, OnFailure, Patch, Presence, Scorer, Selector, Source,
    StageContext, Verdict,
};
pub use trace::{StageKind, StageStatus, StageTrace, Trace};
