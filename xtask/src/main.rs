//! Development tasks of this repository: run every test with what it needs provisioned, rerun a benchmark, and check
//! that the README's commands work. Nothing here is part of the product.

mod bench;
mod postgres;
mod provision;
mod readme;
mod redis;
mod shell;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test, provisioning what the tests need
    Test {
        /// Instead, the tests of a build with SQL, which compiles DataFusion
        #[arg(long)]
        sql: bool,
        /// Passed on to the test runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Rerun a benchmark; figures go to benches/results
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Provision a Redis server with search, as the tests do, and print the variables that name it
    Redis,
    /// Provision a PostgreSQL, as the tests do, and print the variable that names it
    Postgres,
    /// Run the commands that the README shows and fail if one of them does
    Readme,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Test { sql: false, args } => test::run(&args),
        Task::Test { sql: true, args } => test::run_sql(&args),
        Task::Bench { bench } => bench::run(&bench),
        Task::Redis => redis::print(&provision::redis()?),
        Task::Postgres => postgres::print(&provision::postgres()?),
        Task::Readme => readme::run(),
    }
}
