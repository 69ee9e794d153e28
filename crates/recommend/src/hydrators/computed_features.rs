//! Features that are computed from others, and all of them by name.

use tastemaker_config::Entity;
use tastemaker_pipeline::{Hydrator, OnFailure, Patch, Presence, StageContext, StageError};

use crate::candidates::Candidates;
use crate::features::Features;
use crate::query::Query;

/// Computes expressions over what was read of the user, the items and both. If one of these could not be read there are no features at all,
/// rather than ones that were computed without it.
pub(crate) struct ComputedFeatures;

impl Hydrator<Query, Candidates> for ComputedFeatures {
    const NAME: &'static str = "computed_features";
    /// The boost does without; conditions on features then let nothing pass.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    const EVEN_LATE: bool = true;
    type Columns = Option<Features>;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<Self::Columns>, StageError> {
        let rows = batch.rows.len();
        let none = |presence| Ok(Patch { columns: None, presence: vec![presence; rows] });
        let Some(reading) = &query.reading else { return none(Presence::Missing) };
        let reads = &batch.reads;
        let (Some(user), Some(items)) = (&reads.user, &reads.items) else { return none(Presence::Failed) };
        let mut fetched = vec![(Entity::User, user), (Entity::Item, &items.fetched)];
        match &reads.pairs {
            Some(pairs) => fetched.push((Entity::Pair, pairs)),
            None if reading.pairs => return none(Presence::Failed),
            None => {}
        }
        let columns = reading.plan.assemble(rows, query.now, &query.context, &fetched).map_err(StageError::failed)?;
        let features = Features::new(&reading.plan, columns, reads);
        Ok(Patch { columns: Some(features), presence: vec![Presence::Found; rows] })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<Self::Columns>) {
        batch.features = patch.columns;
        batch.reads = Default::default();
    }
}
