//! Answers as callers see them, over a small shop with trained generations.

mod answers;
mod diversity;
mod failures;
mod filters;
mod generations;
mod shop;
