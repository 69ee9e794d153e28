//! The items that the request leaves out.

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use super::judge;
use crate::candidates::Candidates;
use crate::query::Query;

/// Drops the items that the request names in `exclude`.
pub(crate) struct Excluded;

impl Filter<Query, Candidates> for Excluded {
    const NAME: &'static str = "excluded";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        Ok(judge(batch, "excluded by the request", |row| !query.admission.excluded.contains(&row)))
    }
}
