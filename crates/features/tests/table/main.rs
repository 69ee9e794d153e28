//! Batch feature tables: reading them, point-in-time joins, the newest rows, and the files around a join.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
mod files;
mod join;
mod latest;
mod open;
mod reference;
