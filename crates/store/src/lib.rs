//! What the online side holds in memory: the item catalog and bitmaps over item rows. Durability is the event log's business, training the
//! models'.

mod bitmap;
pub mod catalog;

pub use bitmap::Bitmap;
pub use catalog::{Catalog, CatalogError, CatalogSnapshot, ItemChange};
