//! `serve`: the HTTP service.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tastemaker_config::Config;
use tokio::net::TcpListener;

use crate::context::Context;
use crate::logging;
use crate::output::Report;

/// Serve recommendations over HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends after running requests on Ctrl-C or SIGTERM. The API is described at /docs. Anything but loopback needs API keys
(`tastemaker keys create`).

Example:
  tastemaker serve --listen 127.0.0.1:9000")]
pub(crate) struct Args {
    /// The address and port; port 0 takes a free one [default: server.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Listening {
    project: String,
    listening: SocketAddr,
}

impl Report for Listening {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { project, listening } = self;
        writeln!(out, "Serving {project} on http://{listening} (the API: http://{listening}/docs); Ctrl-C ends it.")
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut config = context.load()?.config;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    logging::start(&config.logging, context)?;
    serve(config, context)
}

/// Serves until a signal asks to end.
pub(crate) fn serve(config: Config, context: &Context) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")?;
    runtime.block_on(async {
        let listen = config.server.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
        let listening = Listening { project: config.project.name.clone(), listening: listener.local_addr()? };
        let shutdown = tastemaker_server::shutdown_signal();
        let output = context.output;
        // Whoever closed stdout does not want to know.
        let opened = move || drop(output.print(&listening));
        Ok(tastemaker_server::serve(Arc::new(config), listener, opened, shutdown).await?)
    })
}
