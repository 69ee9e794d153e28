//! Answers as callers see them, over a small shop with trained generations.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod answers;
mod diversity;
mod failures;
mod features;
mod filters;
mod generations;
mod shop;
