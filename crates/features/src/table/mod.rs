//! Batch feature views: Parquet tables that somebody else writes, with keys of entities, an event time and feature columns. [`Table`] opens
//! one and reads it in a normalised form, [`join`] looks features up as they were known at each of many times, [`Table::latest`] gives the
//! newest row of each entity for the online store, [`EntityRows`] and [`FeatureWriter`] are the files that go in and come out of a join.
//!
//! Everything is Arrow, batch by batch; there is no query engine. What a view is called, which project it belongs to and where its values
//! are served from is the caller's business.

mod column;
mod error;
mod files;
mod join;
pub(crate) mod keys;
mod latest;
mod open;
mod read;
mod rows;
mod seek;
mod unit;
mod version;
mod write;

pub use column::FeatureType;
pub use error::TableError;
pub(crate) use join::join_where;
pub use join::{FeatureStatus, FeatureValues, JoinOptions, JoinRows, Joined, JoinedRows, join};
pub use latest::LatestOptions;
pub use open::{FeatureColumn, KeyColumn, Table, TableSource};
pub use read::{Refused, TableBatches};
pub(crate) use rows::texts_of;
pub use rows::{EntityChunk, EntityRows};
pub use write::FeatureWriter;
