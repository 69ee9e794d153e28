//! The items that the request itself brings, to be ranked.

use tastemaker_pipeline::{OnFailure, Source, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// The request's own items.
pub(crate) struct Given;

impl Source<Query, Candidates> for Given {
    const NAME: &'static str = "given";
    const ON_FAILURE: OnFailure = OnFailure::Closed;

    fn fetch(&self, query: &Query, _: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        Ok(Candidates::found(query.given.clone()))
    }
}
