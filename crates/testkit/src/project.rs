//! A project in a temporary folder.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder with a `tastemaker.toml`, deleted at the end of the test.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// With `toml` as its project file; its data goes to `data` inside of the folder unless `toml` says otherwise.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("tastemaker.toml"), toml).expect("a project file");
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The project file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("tastemaker.toml")
    }
}
