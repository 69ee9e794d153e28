//! SQL over a project: its tables, read from the event log as Arrow record batches, and the trait of the engines that
//! answer queries over them. The embedded engine is DataFusion, behind the feature `datafusion`, because it is most of a
//! build; the tables and the trait know nothing of it.

#[cfg(feature = "datafusion")]
mod datafusion;
mod engine;
mod entities;
mod events;
#[cfg(feature = "datafusion")]
pub mod output;
mod recommendations;
mod table;

#[cfg(feature = "datafusion")]
pub use crate::datafusion::DataFusionEngine;
pub use engine::{BatchEngine, Limits, QueryError, Rows};
pub use table::{Hold, NamedTable, Table, project_tables};
