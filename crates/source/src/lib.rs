//! Items whose system of record is the user's own database: PostgreSQL read by key ([`Postgres::fetch`]), by a feed of changes
//! ([`Postgres::changes`], [`Feed`]) and by notification ([`Postgres::listen`]), and a bounded tier in front of reads by key
//! ([`ReadThrough`]). Nothing here writes: what becomes of what is read is for the caller.

mod cache;
mod columns;
mod error;
mod feed;
mod inspect;
mod layout;
mod listen;
mod origin;
mod postgres;
mod quote;
mod read_through;
mod rows;

pub use error::SourceError;
pub use feed::{Cursor, Feed};
pub use inspect::Inspection;
pub use listen::{Listener, Notice};
pub use origin::{Known, Origin, State};
pub use postgres::{Page, Postgres};
pub use read_through::{ReadThrough, TierOptions, TierStats};
