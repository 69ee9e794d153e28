//! The project's eligibility condition, on the catalog as it was when the request began.

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use super::judge;
use crate::candidates::Candidates;
use crate::query::Query;

/// Keeps items that are there and whose attributes meet `recommend.eligibility`.
pub(crate) struct Eligibility;

impl Filter<Query, Candidates> for Eligibility {
    const NAME: &'static str = "eligibility";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        let eligible = query.admission.eligibility.as_ref().and_then(|admitting| admitting.rows.as_deref());
        Ok(judge(batch, "not eligible", |row| {
            query.catalog.alive(row) && eligible.is_none_or(|eligible| eligible.contains(row))
        }))
    }
}
