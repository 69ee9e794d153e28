//! Eligibility once more, on the few items about to be served and the catalog as it is now.

use std::sync::Arc;

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use crate::candidates::Candidates;
use crate::query::Query;

/// Drops selected items that were deleted, or that ceased to meet the eligibility condition or the filter, since the request began.
pub(crate) struct StillEligible;

impl Filter<Query, Candidates> for StillEligible {
    const NAME: &'static str = "still_eligible";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        let mut verdicts = vec![Verdict::Keep; batch.rows.len()];
        let newest = query.live.snapshot();
        if batch.rows.is_empty() || Arc::ptr_eq(&newest, &query.catalog) {
            return Ok(verdicts);
        }
        for (verdict, row) in verdicts.iter_mut().zip(&batch.rows) {
            if !newest.alive(*row) {
                *verdict = Verdict::Drop("deleted meanwhile");
            }
        }
        let conditions = [&query.admission.eligibility, &query.admission.filter];
        // Of features, those that were read for the request count.
        for part in conditions.into_iter().flatten().flat_map(|admitting| admitting.condition.parts()) {
            let attributes = newest.gather_columns(&batch.rows, part.attributes());
            let kept = part.filter(query, batch, &attributes)?;
            for (position, verdict) in verdicts.iter_mut().enumerate() {
                if position >= kept.len() || !kept.value(position) {
                    *verdict = Verdict::Drop("not eligible any more");
                }
            }
        }
        Ok(verdicts)
    }
}
