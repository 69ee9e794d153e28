//! What can be wrong with a project file, with the place of each problem.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum Origin {
    /// The documented default.
    Default,
    /// The project file.
    File {
        /// Its path as it was given.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
    },
    /// A `--set` on the command line.
    Set {
        /// The dotted key.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Env { name } => f.write_str(name),
            Self::Set { key } => write!(f, "--set {key}"),
        }
    }
}

/// One thing that is wrong, and where. Its text is one line, such as
/// `tastemaker.toml:7:1: embeddings.rank is 0; allowed: 1 to 4096`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key it is about.
    pub key: String,
    /// Where its value came from; [`Origin::Default`] if nobody gave one.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
    /// The project file, named when the origin is a default.
    pub(crate) file: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{}: {}", self.file, self.message),
            origin => write!(f, "{origin}: {}", self.message),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no project file.
    #[error("there is no project file {}; write one with `tastemaker init`, or name another with --config", path.display())]
    Missing {
        /// The path that was looked at.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the project file {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was read, and these things are wrong, all of them, in the order of the file.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// The single problems of [`ConfigError::Invalid`].
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
