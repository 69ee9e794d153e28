//! The items whose vectors have the largest inner product with the user's.

use tastemaker_pipeline::{Source, StageContext, StageError};
use tastemaker_store::index::MAX_K;

use crate::candidates::Candidates;
use crate::explain::Retrieval;
use crate::query::Query;

/// Nearest items by the user's vector; nothing for a user without history.
pub(crate) struct Embedding {
    pub(crate) quota: Option<usize>,
}

impl Source<Query, Candidates> for Embedding {
    const NAME: &'static str = "embedding";

    fn fetch(&self, query: &Query, _: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        let Some((generation, vector)) = query.user_vector()? else { return Ok(Candidates::default()) };
        let k = self.quota.map_or(query.candidates, |quota| quota.min(query.candidates)).clamp(1, MAX_K);
        let filter = &query.admission.admitted;
        let hits = generation.nearest(vector, k, Some(filter)).map_err(StageError::failed)?;
        let retrieval = Retrieval {
            plan: hits.plan.name(),
            asked: k,
            found: hits.hits.len(),
            vectors: generation.len(),
            admitted: filter.count(),
            scored: hits.scored,
        };
        let mut found = Candidates::found(hits.hits.iter().map(|hit| hit.row).collect());
        found.retrieval = Some(retrieval);
        Ok(found)
    }
}
