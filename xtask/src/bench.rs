//! The benchmarks behind the figures in README and docs: one command each, peers measured in the same run.

use clap::Subcommand;

use crate::provision;
use crate::shell::{self, cargo, command, root, target_dir};

/// One benchmark.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Ranking quality on Gowalla (LightGCN split; needs TASTEMAKER_DATA)
    Quality,
    /// Time to the recall that `implicit` reaches on Gowalla (needs TASTEMAKER_DATA)
    Training,
    /// Training time and memory from 1 to 100 million interactions
    Scaling,
    /// Vector search against hnswlib and usearch: 1 million vectors of 64 dimensions
    Retrieval,
    /// Features against Feast: its Python server with SQLite and Redis, and its default offline store
    Features {
        /// Passed on to the script (see `--help` there)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A whole server under an open-loop load: 1 million items, 100,000 users
    Serving {
        /// Passed on to the load generator (see `--help` there)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Synced ingest beside recommendations
    Ingest {
        /// Passed on to the load generator (see `--help` there)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Serving from Redis: publishing, memory, latency against the bare search, and faults under load
    Redis {
        /// Passed on to the script (see `--help` there)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Random `kill -9` under load: every acknowledged event is there once
    Durability {
        /// How many times the server is killed
        #[arg(long, default_value_t = 100)]
        kills: u32,
    },
}

/// Runs one benchmark.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    std::fs::create_dir_all(root().join("benches/results"))?;
    match bench {
        Bench::Quality => GOWALLA.iter().try_for_each(|settings| gowalla(settings)),
        Bench::Training => {
            shell::run(cargo().args(["build", "--release", "-p", "tastemaker-models", "--example", "gowalla"]))?;
            peer("benches/models/implicit_peer.py", &["implicit", "numpy", "scipy"])
        }
        Bench::Scaling => peer("benches/models/scaling.py", &["matplotlib"]),
        Bench::Retrieval => peer("benches/retrieval/bench.py", &["numpy", "hnswlib", "usearch"]),
        Bench::Features { args } => {
            shell::run(cargo().args(["build", "--release", "-p", "tastemaker-cli", "-p", "tastemaker-benches"]))?;
            let python = provision::python_feast()?;
            let redis = provision::redis()?;
            let mut peer = command(python);
            peer.arg("benches/features/feast_peer.py").arg("--release").arg(target_dir().join("release"));
            shell::run(peer.arg("--redis").arg(redis.server).args(args))
        }
        Bench::Serving { args } => load("serving", args),
        Bench::Ingest { args } => load("ingest", args),
        Bench::Redis { args } => {
            shell::run(cargo().args(["build", "--release", "-p", "tastemaker-cli", "-p", "tastemaker-benches"]))?;
            let redis = provision::redis()?;
            let mut bench = command(provision::python(&["redis[hiredis]==6.4.0"])?);
            bench.arg("benches/redis/bench.py").arg("--release").arg(target_dir().join("release"));
            bench.arg("--redis-server").arg(redis.server).arg("--module").arg(redis.search);
            bench.arg("--scratch").arg(target_dir().join("bench"));
            shell::run(bench.arg("--out").arg(root().join("benches/results/redis.json")).args(args))
        }
        Bench::Durability { kills } => {
            let test = ["test", "-p", "tastemaker-cli", "--test", "server_durability", "--", "--nocapture"];
            shell::run(cargo().args(test).env("TASTEMAKER_KILLS", kills.to_string()))
        }
    }
}

/// The documented settings: a model, and what it is to reach is in docs/models.md.
const GOWALLA: [&[&str]; 3] = [
    &["model=als", "rank=64", "iterations=3", "alpha=0.01", "lambda=0.003", "nu=1"],
    &["model=als", "rank=256", "iterations=4", "alpha=0.02", "lambda=0.003", "nu=1"],
    &["model=svd", "rank=512", "iterations=5"],
];

fn gowalla(settings: &[&str]) -> anyhow::Result<()> {
    let example = ["run", "--release", "--quiet", "-p", "tastemaker-models", "--example", "gowalla", "--"];
    shell::run(cargo().args(example).args(settings))
}

/// Runs a Python script that measures peers beside us, with the packages it needs.
fn peer(script: &str, packages: &[&str]) -> anyhow::Result<()> {
    shell::run(command(provision::python(packages)?).arg(script))
}

/// Builds the product and the load generator, and runs the latter.
fn load(name: &str, args: &[String]) -> anyhow::Result<()> {
    shell::run(cargo().args(["build", "--release", "-p", "tastemaker-cli", "-p", "tastemaker-benches"]))?;
    let release = target_dir().join("release");
    let mut load = command(release.join("tastemaker-benches"));
    load.arg(name).arg("--binary").arg(release.join("tastemaker"));
    load.arg("--scratch").arg(target_dir().join("bench"));
    load.arg("--out").arg(root().join("benches/results").join(format!("{name}.json")));
    shell::run(load.args(args))
}
