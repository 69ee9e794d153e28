//! Who may not be in the answer. Sources look among the admitted alone, so most of these find something only where a source does not (items
//! given in the request). The one on features drops what the catalog could not tell, and the last one looks at the catalog anew.

mod eligibility;
mod excluded;
mod feature_filter;
mod request_filter;
mod seen;
mod still_eligible;

pub(crate) use eligibility::Eligibility;
pub(crate) use excluded::Excluded;
pub(crate) use feature_filter::FeatureFilter;
pub(crate) use request_filter::RequestFilter;
pub(crate) use seen::SeenBefore;
pub(crate) use still_eligible::StillEligible;

use tastemaker_pipeline::Verdict;

use crate::candidates::Candidates;

/// One verdict per candidate by its row.
fn judge(batch: &Candidates, reason: &'static str, keep: impl Fn(u32) -> bool) -> Vec<Verdict> {
    let verdict = |row: &u32| if keep(*row) { Verdict::Keep } else { Verdict::Drop(reason) };
    batch.rows.iter().map(verdict).collect()
}
