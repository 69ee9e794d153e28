//! For tests alone: interactions with the shape of real ones, a small HTTP client, a project in a temporary folder, a
//! real server process to start, stop and kill, and a real Redis. Failures panic: here they are test failures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod client;
mod generate;
mod process;
mod project;
mod redis;

pub use client::{Answer, Client};
pub use generate::Interactions;
pub use process::ServerProcess;
pub use project::Project;
pub use redis::{RedisCluster, RedisServer};
