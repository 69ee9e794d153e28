//! What a generation says about itself: `manifest.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tastemaker_types::{Position, Timestamp};

/// The newest manifest format that this program reads and the one it writes.
pub(crate) const FORMAT: u32 = 1;

/// The number of a generation; later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The generation's folder: zero-padded, so that names sort as numbers.
    pub(crate) fn folder(self) -> String {
        format!("{:010}", self.0)
    }

    /// The version whose folder is named `name`.
    pub(crate) fn from_folder(name: &str) -> Option<Self> {
        let version = Self(name.parse().ok()?);
        (version.folder() == name).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Metric values by name (`recall@20`), in name order.
pub type Metrics = BTreeMap<String, f64>;

/// One file of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name inside of the generation's folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in lower-case hex.
    pub sha256: String,
}

/// What a generation was made from, enough to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The log was read up to, not including, this position.
    pub log_position: Position,
    /// The latest event that was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_event: Option<Timestamp>,
    /// Positive events that were trained on.
    pub events: u64,
    /// SHA-256 of the effective settings that shape the model, in hex.
    pub config_hash: String,
    /// The random seed.
    pub seed: u64,
    /// The champion at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Version>,
    /// The version of the program.
    pub tool_version: String,
    /// Seconds from reading the log to publishing.
    pub training_seconds: f64,
}

/// The shape of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `als` or `svd`.
    pub kind: String,
    /// Length of the vectors.
    pub rank: usize,
    /// Users trained on.
    pub users: usize,
    /// Items trained on.
    pub items: usize,
}

/// How the model did on events that it was not trained on, beside the popularity baseline on the same users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The share of the latest positive events that was held out.
    pub holdout: f64,
    /// The first held-out event's time.
    pub cutoff: Timestamp,
    /// Users with at least one event on each side of the cutoff.
    pub users: usize,
    /// The model.
    pub model: Metrics,
    /// The most popular items of the training side.
    pub popularity: Metrics,
}

/// What the maker of a generation says about it; the store adds the rest of the [`Manifest`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewGeneration {
    /// The project's name.
    pub project: String,
    /// What it was made from.
    pub lineage: Lineage,
    /// Its shape.
    pub model: ModelInfo,
    /// How it did, unless nothing was held out.
    pub evaluation: Option<Evaluation>,
}

/// The whole of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this file.
    pub format: u32,
    /// The generation's number.
    pub version: Version,
    /// The project's name.
    pub project: String,
    /// When it was published.
    pub created_at: Timestamp,
    /// Its shape.
    pub model: ModelInfo,
    /// What it was made from.
    pub lineage: Lineage,
    /// How it did, unless nothing was held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Its files, in name order.
    pub files: Vec<FileEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_sort_as_versions_and_strangers_are_not_versions() {
        assert!(Version(9).folder() < Version(10).folder());
        assert_eq!(Version::from_folder("0000000012"), Some(Version(12)));
        for stranger in ["12", "drafts", "CURRENT", "+000000012", "00000000012"] {
            assert_eq!(Version::from_folder(stranger), None, "{stranger}");
        }
    }
}
