//! All of Tastemaker's talking to Redis: connections that survive its faults, the names and forms of what lives there, search with
//! filters, writes that keep the order of the log, and the loading of a generation. Nothing here knows of recommending, HTTP or the log.

mod client;
mod codec;
mod error;
mod health;
mod items;
mod knn;
pub mod layout;
mod pace;
pub mod publish;
mod pushdown;
mod reply;
pub mod search;
mod stream;
mod users;
mod write;

pub use client::{BreakerState, Client, Observer, Operation, Script, Told, Tracker};
pub use codec::{decode_attributes, decode_value, encode_attributes, encode_value};
pub use error::RedisError;
pub use health::ServerHealth;
pub use items::{ItemWrite, Items, StoredItem};
pub use knn::{KnnSearch, Nearest, Selectivity};
pub use layout::{Layout, VectorFormat};
pub use pace::Pace;
pub use pushdown::Pushdown;
pub use redis::{Cmd, Pipeline, Value, cmd};
pub use reply::fields;
pub use stream::{StreamEntry, StreamLag, StreamReader, StreamSettings};
pub use users::{StoredUser, UserUpdate, UserWrite, Users, encode_feature};
pub use write::{HashChange, HashWrite, Written};
