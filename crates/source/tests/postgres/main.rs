//! Reading a real PostgreSQL. Each test has a server of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod changes;
mod common;
mod failures;
mod fetch;
mod reads;
mod settings;
