//! Features of the past against slow, obvious references.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod ahead;
mod common;
mod historical;
mod materialize;
mod present;
mod reference;
mod validate;
