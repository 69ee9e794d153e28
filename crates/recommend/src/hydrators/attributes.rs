//! The catalog attributes that scorers and the selector read.

use arrow_array::RecordBatch;
use tastemaker_pipeline::{Hydrator, OnFailure, Patch, Presence, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// Gathers the attributes that the boost and the diversity caps need, and no others.
pub(crate) struct ItemAttributes {
    /// Places of the attributes with caps.
    pub(crate) capped: Vec<usize>,
}

impl Hydrator<Query, Candidates> for ItemAttributes {
    const NAME: &'static str = "attributes";
    /// Scorers and the selector do without.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    type Columns = RecordBatch;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<RecordBatch>, StageError> {
        let mut places: Vec<usize> = self.capped.clone();
        places.extend(query.boost.iter().flat_map(|boost| boost.attributes()));
        places.sort_unstable();
        places.dedup();
        let columns = query.catalog.gather_columns(&batch.rows, &places);
        let presence = |row: &u32| if query.catalog.id(*row).is_some() { Presence::Found } else { Presence::Missing };
        Ok(Patch { columns, presence: batch.rows.iter().map(presence).collect() })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<RecordBatch>) {
        batch.attributes = Some(patch.columns);
    }
}
