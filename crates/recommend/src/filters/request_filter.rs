//! The request's own condition.

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use super::judge;
use crate::candidates::Candidates;
use crate::query::Query;

/// Keeps items whose attributes meet the request's filter.
pub(crate) struct RequestFilter;

impl Filter<Query, Candidates> for RequestFilter {
    const NAME: &'static str = "request_filter";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        let passing = query.admission.filter.as_ref().and_then(|admitting| admitting.rows.as_deref());
        Ok(judge(batch, "does not meet the filter", |row| passing.is_none_or(|passing| passing.contains(row))))
    }
}
