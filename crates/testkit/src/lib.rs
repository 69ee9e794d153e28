//! For tests alone: interactions with the shape of real ones, a small HTTP client, a project in a temporary folder, a
//! real server process to start, stop and kill, a real Redis and a real PostgreSQL. Failures panic: here they are test failures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod client;
mod generate;
mod postgres;
mod process;
mod project;
mod redis;

pub use client::{Answer, Client};
pub use generate::Interactions;
pub use postgres::PostgresServer;
pub use process::ServerProcess;
pub use project::Project;
pub use redis::{RedisCluster, RedisServer};
