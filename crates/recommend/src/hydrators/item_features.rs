//! What is stored of the candidates.

use tastemaker_features::{Embeddings, FetchedItems};
use tastemaker_pipeline::{Hydrator, OnFailure, Patch, StageContext, StageError};

use super::presence;
use crate::candidates::Candidates;
use crate::query::Query;

/// Reads the features of all candidates that the request needs.
pub(crate) struct ItemFeatures;

impl Hydrator<Query, Candidates> for ItemFeatures {
    const NAME: &'static str = "item_features";
    /// The boost does without; conditions on features then let nothing pass.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    const EVEN_LATE: bool = true;
    type Columns = Option<FetchedItems>;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<Self::Columns>, StageError> {
        let embeddings = query.generation.as_deref().map(|generation| generation as &dyn Embeddings);
        let rows = || batch.rows.iter().map(|row| Some(*row)).collect::<Vec<_>>();
        let read = |plan| query.state.fetch_items(plan, &rows(), query.now, embeddings);
        let columns = query.reading.as_ref().map(|reading| read(&reading.plan));
        let presence = presence(columns.as_ref().map(|items| &items.fetched), batch);
        Ok(Patch { columns, presence })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<Self::Columns>) {
        batch.reads.items = patch.columns;
    }
}
