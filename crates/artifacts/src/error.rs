//! What can go wrong with generations, sorted by what to do about it.

use std::io;
use std::path::PathBuf;

use crate::Version;

/// An error of the generation store or of one generation's files.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file system refused. The path is in `source`.
    #[error("could not {doing}: {source}; check that the disk is not full and the folder is writable")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The cause, with the path.
        source: io::Error,
    },
    /// No generation of this version.
    #[error("there is no model generation {version}{known}")]
    NoSuchVersion {
        /// The version asked for.
        version: Version,
        /// The versions there are, as the end of a sentence.
        known: String,
    },
    /// Nothing has been promoted before the champion, or it was deleted.
    #[error(
        "there is no earlier generation to roll back to; `models list` shows what there is, `models promote` picks one"
    )]
    NothingToRollBack,
    /// The manifest cannot be used.
    #[error(
        "generation {version} is corrupt: {} {reason}; train again, or promote another generation (`models list`)",
        path.display()
    )]
    CorruptManifest {
        /// The generation.
        version: Version,
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The generation was written by a newer program.
    #[error("generation {version} has format {found}, this program reads up to {supported}; upgrade it or train again")]
    UnsupportedFormat {
        /// The generation.
        version: Version,
        /// The format it has.
        found: u32,
        /// The newest format known.
        supported: u32,
    },
    /// A file differs from what the manifest says.
    #[error(
        "generation {version} is corrupt: {} {reason}; train again, or promote another generation (`models list`)",
        path.display()
    )]
    CorruptFile {
        /// The generation.
        version: Version,
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// A file is not of the format its name promises.
    #[error("{} is not a valid {format} file: {reason}; train again", path.display())]
    BadFormat {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The champion pointer cannot be read.
    #[error("{} is corrupt ({reason}); promote a generation again (`models promote VERSION`)", path.display())]
    CorruptPointer {
        /// The pointer file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A draft holds something that a generation cannot.
    #[error("a generation cannot hold '{name}': {reason}")]
    BadFileName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Puts what was being done into an I/O error.
pub(crate) trait Doing<T> {
    /// `doing` completes "could not …".
    fn doing(self, doing: &'static str) -> Result<T, ArtifactError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, ArtifactError> {
        self.map_err(|source| ArtifactError::Io { doing, source })
    }
}
