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
        let fresh = newest(query, |_| true).take_while(|(_, first_seen)| *first_seen > since);
        Ok(Candidates::found(fresh.map(|(row, _)| row).take(quota).collect()))
    }
}

/// Admitted rows that `wanted` wants, newest first as far as the rankings know; rows that came after the rankings were made come before all.
pub(super) fn newest(query: &Query, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = (u32, Timestamp)> {
    let later = (query.rankings.rows()..query.catalog.len() as u32).rev();
    let later = later.filter_map(|row| Some((row, query.catalog.first_seen(row)?)));
    let listed = query.rankings.newest().iter().copied();
    later.chain(listed).filter(move |(row, _)| query.admission.admitted.contains(*row) && wanted(*row))
}
