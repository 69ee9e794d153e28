//! Features of the past, from the same log, by the same code as live ones: [`Historical`] gives the features of entities as they were at a
//! time, [`Present`] those of all entities at the end of the log, [`ServedRows`] those that an answer was made with, [`Validation`] compares
//! these with what was logged, and [`ViewRows`] brings the newest rows of batch tables into the log. All read the log in one pass, in memory
//! that does not grow with the number of events.

mod alone;
mod answers;
mod asked;
mod attributes;
mod error;
mod everybody;
mod gather;
mod historical;
mod materialize;
mod pending;
mod present;
mod replay;
mod served;
mod shape;
mod spill;
mod stored;
mod sweep;
mod validate;
mod views;

pub use error::OfflineError;
pub use historical::{Historical, HistoricalChunk, HistoricalOptions, Progress};
pub use materialize::{Materialized, ViewReport, ViewRows};
pub use present::{Present, Shape};
pub use replay::{Missed, Replayed, replay};
pub use served::{ServedReport, ServedRows, request_ids};
pub use validate::{Compared, Mismatch, Skipped, Validation, ValidationOptions};
pub use views::{table_source, table_source_at};

use crate::set::{Feature, FeatureId};

/// What the columns of features are called: a feature has its own name; features of several kinds of entity with one name are called
/// `entity.name`.
fn column_names(features: &[Feature], wanted: &[FeatureId]) -> Vec<(FeatureId, String)> {
    let known = |id: &FeatureId| Some((*id, features.get(id.0)?));
    let wanted: Vec<(FeatureId, &Feature)> = wanted.iter().filter_map(known).collect();
    let name = |(id, feature): &(FeatureId, &Feature)| {
        let shared = wanted.iter().any(|(other, named)| other != id && named.name == feature.name);
        (*id, if shared { format!("{}.{}", feature.entity.name(), feature.name) } else { feature.name.clone() })
    };
    wanted.iter().map(name).collect()
}
