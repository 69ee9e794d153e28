//! The most popular items.

use tastemaker_pipeline::{Source, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// Where a filter admits at most this many rows, all of them are ranked if the list of the popular ones does not give enough.
const RANKED_EACH_TIME: usize = 65_536;

/// Admitted items by popularity.
pub(crate) struct Popular {
    pub(crate) quota: Option<usize>,
}

impl Source<Query, Candidates> for Popular {
    const NAME: &'static str = "popular";

    fn fetch(&self, query: &Query, _: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        let quota = self.quota.map_or(query.candidates, |quota| quota.min(query.candidates));
        Ok(Candidates::found(popular(query, quota, |_| true)))
    }
}

/// The `limit` most popular rows that are admitted and that `wanted` wants; fewer only if fewer are liked at all, or in a corner that no list reaches:
/// many rows are admitted, and few of the listed ones.
pub(crate) fn popular(query: &Query, limit: usize, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let admitted = &query.admission.admitted;
    let listed = query.rankings.popular().iter().copied();
    let found: Vec<u32> = listed.filter(|row| admitted.contains(*row) && wanted(*row)).take(limit).collect();
    if found.len() == limit || admitted.count() > RANKED_EACH_TIME {
        return found;
    }
    let liked = admitted.iter().filter(|row| query.rankings.popularity(*row) > 0.0 && wanted(*row));
    let ranked = query.rankings.most_popular(liked, limit);
    // Outside of the window popularity is 0, but the list knows what was liked before it.
    if ranked.len() >= found.len() { ranked } else { found }
}
