//! The items nearest by cosine to what the user liked last.

use tastemaker_pipeline::{Source, StageContext, StageError, rank};
use tastemaker_store::index::MAX_K;

use crate::candidates::Candidates;
use crate::numeric::dot;
use crate::query::Query;

/// The index knows inner products, which favour long vectors: this many times the quota are found by them and cut down by cosine.
const OVERSAMPLE: usize = 3;

/// Nearest items by the direction of the last liked ones; nothing for a user without history.
pub(crate) struct ItemToItem {
    pub(crate) quota: Option<usize>,
}

impl Source<Query, Candidates> for ItemToItem {
    const NAME: &'static str = "item_to_item";

    fn fetch(&self, query: &Query, _: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        let Some((generation, taste)) = query.taste() else { return Ok(Candidates::default()) };
        let quota = self.quota.map_or(query.candidates, |quota| quota.min(query.candidates)).clamp(1, MAX_K);
        let k = (quota * OVERSAMPLE).min(MAX_K);
        let hits = generation.nearest(taste, k, Some(&query.admission.admitted)).map_err(StageError::failed)?;
        let rows: Vec<u32> = hits.hits.iter().map(|hit| hit.row).collect();
        let cosine = |row: &u32| match generation.vector(*row) {
            Some((vector, norm)) if norm > 0.0 => dot(taste, vector) / norm,
            _ => f32::NEG_INFINITY,
        };
        let cosines: Vec<f32> = rows.iter().map(cosine).collect();
        let row = |position: u32| rows.get(position as usize).copied();
        let nearest = rank(&cosines, quota, row);
        Ok(Candidates::found(nearest.into_iter().filter_map(row).collect()))
    }
}
