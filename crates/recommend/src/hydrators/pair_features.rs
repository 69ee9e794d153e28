//! What is stored of the user with each candidate.

use tastemaker_features::Fetched;
use tastemaker_pipeline::{Hydrator, OnFailure, Patch, StageContext, StageError};

use super::presence;
use crate::candidates::Candidates;
use crate::query::Query;

/// Reads the features of the user with all candidates that the request needs.
pub(crate) struct PairFeatures;

impl Hydrator<Query, Candidates> for PairFeatures {
    const NAME: &'static str = "pair_features";
    /// The boost does without; conditions on features then let nothing pass.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    const EVEN_LATE: bool = true;
    type Columns = Option<Fetched>;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<Self::Columns>, StageError> {
        let id = query.user_id.as_deref().unwrap_or_default();
        let pairs = || batch.rows.iter().map(|row| (id, Some(*row)));
        let reading = query.reading.as_ref().filter(|reading| reading.pairs);
        let columns = reading.map(|reading| query.state.fetch_pairs(&reading.plan, pairs(), query.now));
        Ok(Patch { presence: presence(columns.as_ref(), batch), columns })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<Self::Columns>) {
        batch.reads.pairs = patch.columns;
    }
}
