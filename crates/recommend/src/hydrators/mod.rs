//! What is attached to candidates before they are scored.

mod attributes;
mod computed_features;
mod item_features;
mod pair_features;
mod signals;
mod user_features;

pub(crate) use attributes::ItemAttributes;
pub(crate) use computed_features::ComputedFeatures;
pub(crate) use item_features::ItemFeatures;
pub(crate) use pair_features::PairFeatures;
pub(crate) use signals::Similarities;
pub(crate) use user_features::UserFeatures;

use tastemaker_features::Fetched;
use tastemaker_pipeline::Presence;

use crate::candidates::Candidates;

/// Found where something is known of the candidate.
fn presence(read: Option<&Fetched>, batch: &Candidates) -> Vec<Presence> {
    let known = |version: &Option<_>| if version.is_some() { Presence::Found } else { Presence::Missing };
    match read {
        Some(read) => read.versions.iter().map(known).collect(),
        None => vec![Presence::Missing; batch.rows.len()],
    }
}
