//! `CURRENT`: the champion and the champions before it in one small file, so that one rename promotes or rolls back.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use tastemaker_types::Timestamp;

use crate::error::Doing;
use crate::{ArtifactError, Version, durable};

pub(crate) const NAME: &str = "CURRENT";
/// Champions remembered for rolling back.
const REMEMBERED: usize = 16;

/// The content of `CURRENT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    /// The generation that serves.
    pub(crate) champion: Version,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Champions before it, the latest first; rolling back takes the first that still exists.
    #[serde(default)]
    pub(crate) previous: Vec<Version>,
}

impl Pointer {
    /// The pointer in `dir`, or none if nothing was ever promoted.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, ArtifactError> {
        let path = dir.join(NAME);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read the champion pointer"),
        };
        serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| ArtifactError::CorruptPointer { path, reason: error.to_string() })
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), ArtifactError> {
        let content = serde_json::to_vec_pretty(self).map_err(io::Error::from).doing("write the champion pointer")?;
        durable::replace(dir, NAME, &content)
    }

    /// After promoting `version`; `current` is remembered.
    pub(crate) fn promote(current: Option<Self>, version: Version) -> Self {
        let mut previous = Vec::new();
        if let Some(current) = current {
            previous.push(current.champion);
            previous.extend(current.previous);
        }
        previous.retain(|earlier| *earlier != version);
        previous.truncate(REMEMBERED);
        Self { champion: version, since: Timestamp::now(), previous }
    }

    /// After rolling back to the latest earlier champion for which `exists` holds.
    pub(crate) fn roll_back(&self, exists: impl Fn(Version) -> bool) -> Option<Self> {
        let at = self.previous.iter().position(|version| exists(*version))?;
        Some(Self { champion: self.previous[at], since: Timestamp::now(), previous: self.previous[at + 1..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_back_walks_through_the_champions_that_still_exist() {
        let pointer = [1, 2, 3, 2, 4].into_iter().fold(None, |p, v| Some(Pointer::promote(p, Version(v)))).unwrap();
        assert_eq!((pointer.champion, &pointer.previous[..]), (Version(4), &[Version(2), Version(3), Version(1)][..]));
        let back = pointer.roll_back(|v| v != Version(2)).unwrap();
        assert_eq!((back.champion, &back.previous[..]), (Version(3), &[Version(1)][..]));
        assert!(pointer.roll_back(|_| false).is_none());
    }
}
