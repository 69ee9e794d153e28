//! Conditions that read more than item attributes, on the features that were read for the candidates.

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use crate::candidates::Candidates;
use crate::query::Query;

/// Drops candidates that do not meet those parts of `recommend.eligibility` and of the request's filter which the catalog cannot answer. If
/// features that they read could not be read, all candidates go.
pub(crate) struct FeatureFilter;

impl Filter<Query, Candidates> for FeatureFilter {
    const NAME: &'static str = "feature_filter";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        let mut verdicts = vec![Verdict::Keep; batch.rows.len()];
        let admission = &query.admission;
        for (condition, reason) in
            [(&admission.eligibility, "not eligible by its features"), (&admission.filter, "does not meet the filter")]
        {
            let Some(condition) = condition.as_ref().and_then(|admitting| admitting.condition.features.as_ref()) else {
                continue;
            };
            let attributes = query.catalog.gather_columns(&batch.rows, condition.attributes());
            let kept = condition.filter(query, batch, &attributes)?;
            for (position, verdict) in verdicts.iter_mut().enumerate() {
                if *verdict == Verdict::Keep && !(position < kept.len() && kept.value(position)) {
                    *verdict = Verdict::Drop(reason);
                }
            }
        }
        Ok(verdicts)
    }
}
