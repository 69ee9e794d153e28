//! The search module's commands: indexes and aliases, queries and their rows. What a query should look for is decided elsewhere.

mod index;
mod query;
mod rows;

pub use index::{IndexField, IndexInfo, IndexSchema};
pub use query::{Filter, HybridPolicy, Knn, Param, Query, Returned};
pub use rows::{Row, Rows};
