//! The process's own log, to stderr.

use std::io;

use anyhow::{Context as _, Result};
use tastemaker_config::{LogFormat, LoggingConfig};
use tracing_subscriber::EnvFilter;

use crate::context::Context;

/// Logs as the project says, or as -v and -q say.
pub(crate) fn start(config: &LoggingConfig, context: &Context) -> Result<()> {
    let level = context.log_level().unwrap_or(&config.level);
    let filter = EnvFilter::try_new(level).with_context(|| format!("logging.level '{level}' cannot be understood"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let color = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let started = match config.format {
        LogFormat::Text => log.with_ansi(color).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("could not start logging: {error}"))
}

/// Logs warnings, or what -v asks for, in verbs that run and end.
pub(crate) fn start_quietly(context: &Context) {
    let filter = EnvFilter::new(context.log_level().unwrap_or("warn"));
    // A second start would be a second log; the first stays.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).try_init();
}
