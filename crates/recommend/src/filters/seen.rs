//! The items that the user has met.

use tastemaker_pipeline::{Filter, OnFailure, StageContext, StageError, Verdict};

use super::judge;
use crate::candidates::Candidates;
use crate::query::Query;

/// Drops the items that the user has met, as far as the policy leaves them out.
pub(crate) struct SeenBefore;

impl Filter<Query, Candidates> for SeenBefore {
    const NAME: &'static str = "seen";
    /// A known item is a blemish, no answer is worse.
    const ON_FAILURE: OnFailure = OnFailure::Open;

    fn keep(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<Verdict>, StageError> {
        Ok(judge(batch, "met before", |row| !query.admission.seen.contains(&row)))
    }
}
