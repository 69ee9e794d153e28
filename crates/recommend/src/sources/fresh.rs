//! The newest items.

use tastemaker_pipeline::{Source, StageContext, StageError};
use tastemaker_types::Timestamp;

use crate::candidates::Candidates;
use crate::query::Query;

/// Admitted items first seen within the fresh window, newest first.
pub(crate) struct Fresh {
    pub(crate) quota: Option<usize>,
}

impl Source<Query, Candidates> for Fresh {
    const NAME: &'static str = "fresh";

    fn fetch(&self, query: &Query, _: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        let quota = self.quota.map_or(query.candidates, |quota| quota.min(query.candidates));
        let since = query.now.minus(query.fresh_window);
        let fresh = newest(query, Some(since), |_| true);
        Ok(Candidates::found(fresh.take(quota).collect()))
    }
}

/// Admitted rows that `wanted` wants and that were first seen after `since`, newest first as far as the rankings know; rows that came after the
/// rankings were made come before all.
pub(crate) fn newest(
    query: &Query,
    since: Option<Timestamp>,
    wanted: impl Fn(u32) -> bool,
) -> impl Iterator<Item = u32> {
    let recent = move |first_seen: Timestamp| since.is_none_or(|since| first_seen > since);
    let later = (query.rankings.rows()..query.catalog.len() as u32).rev();
    let later = later.filter(move |row| query.catalog.first_seen(*row).is_some_and(recent));
    let listed = query.rankings.newest().iter().copied().take_while(move |(_, first_seen)| recent(*first_seen));
    let rows = later.chain(listed.map(|(row, _)| row));
    rows.filter(move |row| query.admission.admitted.contains(*row) && wanted(*row))
}
