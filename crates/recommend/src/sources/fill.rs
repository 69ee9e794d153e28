//! What is missing to a full answer.

use tastemaker_pipeline::{Source, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;
use crate::sources::fresh::newest;
use crate::sources::popular::popular;

/// Runs after the others. If they found too few candidates for a full answer, adds the most popular admitted items, then the newest, then any, until there
/// are enough or no admitted item is left.
pub(crate) struct Fill;

impl Source<Query, Candidates> for Fill {
    const NAME: &'static str = "fill";
    const EVEN_LATE: bool = true;

    fn fetch(&self, query: &Query, so_far: &Candidates, _: &StageContext) -> Result<Candidates, StageError> {
        let missing = query.wanted().saturating_sub(so_far.rows.len());
        if missing == 0 {
            return Ok(Candidates::default());
        }
        let mut filled = Candidates::default();
        let new = |row: u32| !so_far.contains(row);
        add(&mut filled, popular(query, missing, new).into_iter(), missing);
        if filled.rows.len() < missing {
            add(&mut filled, newest(query, None, new), missing);
        }
        if filled.rows.len() < missing {
            add(&mut filled, query.admission.admitted.iter().filter(|row| new(*row)), missing);
        }
        Ok(filled)
    }
}

/// Adds rows that are not there yet until there are `enough`.
fn add(filled: &mut Candidates, rows: impl Iterator<Item = u32>, enough: usize) {
    for row in rows {
        if filled.rows.len() >= enough {
            return;
        }
        filled.add(row, 0);
    }
}
