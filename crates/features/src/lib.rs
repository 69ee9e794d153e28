//! What is known of users and items beyond the catalog, as state machines over the event log ([`Aggregate`]: `apply` and `read`, the same
//! code live and in replay): what a user liked and met lately, and what everybody likes. [`OnlineState`] holds them for serving: one writer
//! applies records in log order, any number of readers. Durability is the log's business, and item attributes are the catalog's.

mod cell;
mod columns;
mod entity;
mod fetch;
mod freshness;
mod intake;
mod items;
pub mod kernel;
pub mod offline;
mod online;
mod popularity;
mod portable;
mod ranking;
mod read;
mod recent;
pub mod set;
pub mod table;
mod tiling;
mod users;

pub use columns::{attribute_column, feature_column};
pub use fetch::FetchedItems;
pub use kernel::Aggregate;
pub use online::{EventMeaning, OnlineState, SeenBy, StateOptions};
pub use popularity::{Like, Popularity, PopularityRead, PopularityState};
pub use portable::{LikedItem, PortableError, PortableRankings, PortableUser};
pub use ranking::{LISTED, Rankings};
pub use read::{Cell, Embeddings, FeatureColumn, Fetched, ReadPlan, Status};
pub use recent::{Entry, Liked, Recent, Seen};
pub use users::User;
