//! The binary as people use it: what they type, what they see, how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod demo;
mod errors;
mod features;
mod features_offline;
mod imports;
mod models;
mod project;
mod serving;
mod support;
