//! Features of the past, from the same log, by the same code as live ones: [`Historical`] gives the features of entities as they were at a
//! time, [`Replay`] those that an answer was made with, [`Validation`] compares these with what was logged, and [`Materialization`] brings
//! the newest rows of batch tables into the log. All read the log in one pass, in memory that does not grow with the number of events.

mod answers;
mod asked;
mod attributes;
mod error;
mod gather;
mod historical;
mod spill;
mod stored;
mod sweep;
mod views;

pub use error::OfflineError;
pub use historical::{Historical, HistoricalChunk, HistoricalOptions, Progress};
pub use views::table_source;
