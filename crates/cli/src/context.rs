//! What most verbs start from: the project's checked configuration and how to print.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tastemaker_config::{Config, ConfigError, FILE_NAME, LoadOptions, Loaded};

use crate::args::Global;
use crate::output::Output;

/// How this program names itself in what it writes.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The options of every verb, and the project on demand.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    global: Global,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let output = Output { json: global.json, quiet: global.quiet };
        Self { global, output }
    }

    /// The project file that --config names, or the nearest one.
    pub(crate) fn project_file(&self) -> Result<PathBuf> {
        if let Some(path) = &self.global.config {
            return Ok(if path.is_dir() { path.join(FILE_NAME) } else { path.clone() });
        }
        let here = std::env::current_dir().context("the current folder cannot be used")?;
        if here.join(FILE_NAME).is_file() {
            return Ok(PathBuf::from(FILE_NAME));
        }
        match here.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file()) {
            Some(path) => Ok(path),
            None => bail!(
                "there is no {FILE_NAME} in {} or above it; write one with `tastemaker init`, name one with --config, or \
                 see what there is to see with `tastemaker demo`",
                here.display()
            ),
        }
    }

    /// The project's configuration, with the environment and --set laid over it.
    pub(crate) fn load(&self) -> Result<Loaded> {
        self.load_from(&self.project_file()?)
    }

    /// The configuration of the project file at `path`, likewise.
    pub(crate) fn load_from(&self, path: &Path) -> Result<Loaded> {
        let mut options = LoadOptions::new(path);
        for argument in &self.global.set {
            options.set(argument)?;
        }
        let loaded = Config::load(&options)?;
        // What the file's own rules cannot see: expressions, names of stages.
        tastemaker_server::check(&loaded.config).map_err(|error| match error.key() {
            Some(key) => ConfigError::Invalid(vec![loaded.problem(&key, error.to_string())]).into(),
            None => anyhow::Error::new(error).context(path.display().to_string()),
        })?;
        Ok(loaded)
    }

    /// The log level that -v and -q ask for, if they do.
    pub(crate) fn log_level(&self) -> Option<&'static str> {
        match self.global.verbose {
            0 if self.global.quiet => Some("error"),
            0 => None,
            1 => Some("info"),
            2 => Some("debug"),
            _ => Some("trace"),
        }
    }
}
