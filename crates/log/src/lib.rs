//! The event log: the durable, ordered list of everything that was written, and the only source of truth. [`EventLog`]
//! appends (one writer; a call is answered after its records are on disk), [`LogReader`] reads in order (any process).
//! What the records mean is for others to say.
//!
//! The bytes on disk, the guarantees and what to do in trouble are in `docs/event-log.md`.

mod batches;
mod commit;
#[cfg(test)]
mod crash_tests;
mod error;
pub mod export;
mod format;
mod ids;
mod lock;
mod log;
#[cfg(test)]
mod model_disk;
mod queue;
mod reader;
mod segment;
mod storage;
mod wire;
mod writer;

pub use batches::{BATCH_ROWS, EventBatches, event_schema};
pub use error::LogError;
pub use log::{Appended, EventLog, LogOptions, LogStats, OnCommit};
pub use reader::{LogReader, Records};
pub use writer::TornTail;
