//! Requests from a file against any server: the same load for us and for a peer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;

use crate::client::post;
use crate::load::{self, Requests, Stream};

/// `requests`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server
    #[arg(long)]
    address: SocketAddr,
    /// The path to post to
    #[arg(long)]
    path: String,
    /// JSON bodies, one a line, sent in turn
    #[arg(long)]
    bodies: PathBuf,
    /// Requests a second
    #[arg(long)]
    rate: f64,
    /// Answers to count
    #[arg(long)]
    samples: u64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// Runs the load and prints its outcome as JSON.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.bodies)?;
    let requests: Vec<Vec<u8>> = text.lines().map(|body| post(&args.path, body)).collect();
    ensure!(!requests.is_empty(), "{} has no line", args.bodies.display());
    let requests: Requests = Rc::new(move |number| requests[number as usize % requests.len()].clone());
    let stream = Stream { name: "requests", rate: args.rate, connections: args.connections, requests };
    let seconds = Duration::from_secs_f64(args.samples as f64 / args.rate);
    let outcomes = load::run(args.address, &[stream], Duration::from_secs(2), seconds).await?;
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}
