//! What the online side holds in memory: the item catalog, bitmaps over item rows, and the vector indexes that retrieval searches. Durability
//! is the event log's business, training the models'.

mod bitmap;
pub mod catalog;
pub mod index;

pub use bitmap::Bitmap;
pub use catalog::{Catalog, CatalogError, CatalogSnapshot, ItemChange};
