//! What is stored of the user.

use tastemaker_features::{Embeddings, Fetched};
use tastemaker_pipeline::{Hydrator, OnFailure, Patch, Presence, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// Reads the features of the user that the request needs, once for all candidates.
pub(crate) struct UserFeatures;

impl Hydrator<Query, Candidates> for UserFeatures {
    const NAME: &'static str = "user_features";
    /// The boost does without; conditions on features then let nothing pass.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    const EVEN_LATE: bool = true;
    type Columns = Option<Fetched>;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<Self::Columns>, StageError> {
        let embeddings = query.generation.as_deref().map(|generation| generation as &dyn Embeddings);
        let id = query.user_id.as_deref().unwrap_or_default();
        let read = |plan| query.state.fetch_users(plan, [id].into_iter(), query.now, embeddings);
        let columns = query.reading.as_ref().map(|reading| read(&reading.plan));
        let known = columns.as_ref().is_some_and(|read| read.versions.iter().any(Option::is_some));
        let presence = if known { Presence::Found } else { Presence::Missing };
        Ok(Patch { columns, presence: vec![presence; batch.rows.len()] })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<Self::Columns>) {
        batch.reads.user = patch.columns;
    }
}
