//! Items whose system of record is the user's own database: PostgreSQL read by key ([`Postgres::fetch`](Origin::fetch)), by a feed of
//! changes ([`Postgres::changes`], [`Feed`]) and by notification ([`Postgres::listen`]), and a bounded tier in front of reads by key
//! ([`ReadThrough`]). Nothing here writes: what becomes of what is read is for the caller.
//!
//! The client library is behind the feature `postgres`. Without it a [`Postgres`] cannot be made, and says how to get a build that can.

#[cfg(not(feature = "postgres"))]
mod absent;
mod cache;
mod error;
mod feed;
mod origin;
#[cfg(feature = "postgres")]
mod postgres;
mod read_through;
mod told;

#[cfg(not(feature = "postgres"))]
pub use absent::{Listener, Postgres};
pub use error::SourceError;
pub use feed::Feed;
pub use origin::{Known, Origin, State};
#[cfg(feature = "postgres")]
pub use postgres::{Listener, Postgres};
pub use read_through::{ReadThrough, TierOptions, TierStats};
pub use told::{Cursor, Inspection, Notice, Page};
