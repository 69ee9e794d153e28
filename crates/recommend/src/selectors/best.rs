//! The order of scores.

use tastemaker_pipeline::{Selector, StageContext, StageError, rank};

use crate::candidates::Candidates;
use crate::query::Query;

/// All candidates by score, equal scores by id.
pub(crate) struct Best;

impl Selector<Query, Candidates> for Best {
    const NAME: &'static str = "best";

    fn select(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<u32>, StageError> {
        Ok(by_score(query, batch))
    }
}

/// All positions by score, equal scores by id.
pub(super) fn by_score(query: &Query, batch: &Candidates) -> Vec<u32> {
    let id = |position: u32| batch.rows.get(position as usize).and_then(|row| query.catalog.id(*row));
    rank(&batch.scores, batch.rows.len(), id)
}
