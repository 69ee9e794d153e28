//! One published generation whose files were found to be what its manifest says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use memmap2::Mmap;

use crate::error::Doing;
use crate::manifest::FORMAT;
use crate::store::{MANIFEST, MANIFEST_CHECKSUM, check_name};
use crate::{ArtifactError, Manifest, Version, checksum};

/// A verified generation: every file has the size and checksum that the manifest says.
#[derive(Debug, Clone)]
pub struct Generation {
    folder: PathBuf,
    manifest: Manifest,
}

impl Generation {
    pub(crate) fn open(folder: PathBuf, version: Version) -> Result<Self, ArtifactError> {
        let manifest = read_manifest(&folder, version)?;
        check_sizes(&folder, &manifest)?;
        for file in &manifest.files {
            let path = folder.join(&file.name);
            let (sha256, _) = checksum::of_file(&path)?;
            if sha256 != file.sha256 {
                let reason = format!("has SHA-256 {sha256}, but the manifest says {}", file.sha256);
                return Err(ArtifactError::CorruptFile { version, path, reason });
            }
        }
        Ok(Self { folder, manifest })
    }

    /// Its number.
    pub fn version(&self) -> Version {
        self.manifest.version
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The content of the file `name`, mapped: it is paged in as it is used, and stays usable when the generation is
    /// deleted meanwhile.
    ///
    /// # Errors
    /// The generation has no such file, or it cannot be mapped.
    pub fn map(&self, name: &str) -> Result<Arc<Mmap>, ArtifactError> {
        let file = fs::File::open(self.file(name)?).doing("open a model file")?;
        // SAFETY: files of a generation are written before it is published and never changed afterwards; deleting one
        // unlinks it, which leaves the mapping whole.
        unsafe { Mmap::map(file.file()) }.map(Arc::new).doing("map a model file")
    }

    /// Where the file `name` is.
    ///
    /// # Errors
    /// The generation has no such file.
    pub fn file(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        if self.manifest.files.iter().any(|file| file.name == name) {
            return Ok(self.folder.join(name));
        }
        let path = self.folder.join(name);
        Err(ArtifactError::CorruptFile { version: self.version(), path, reason: "is not in the manifest".to_owned() })
    }
}

/// Reads and checks the manifest alone.
pub(crate) fn read_manifest(folder: &Path, version: Version) -> Result<Manifest, ArtifactError> {
    let path = folder.join(MANIFEST);
    let corrupt = |reason: String| ArtifactError::CorruptManifest { version, path: path.clone(), reason };
    let content = fs::read(&path).map_err(|error| corrupt(format!("cannot be read: {}", error.kind())))?;
    let sum = fs::read_to_string(folder.join(MANIFEST_CHECKSUM))
        .map_err(|error| corrupt(format!("has no readable {MANIFEST_CHECKSUM}: {}", error.kind())))?;
    if sum.split_whitespace().next() != Some(checksum::of_bytes(&content).as_str()) {
        return Err(corrupt(format!("is not the file that {MANIFEST_CHECKSUM} was made for")));
    }
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(&content).map_err(|error| corrupt(format!("cannot be parsed: {error}")))?;
    if head.format > FORMAT {
        return Err(ArtifactError::UnsupportedFormat { version, found: head.format, supported: FORMAT });
    }
    let manifest: Manifest =
        serde_json::from_slice(&content).map_err(|error| corrupt(format!("cannot be parsed: {error}")))?;
    if manifest.version != version {
        return Err(corrupt(format!("is of generation {}", manifest.version)));
    }
    manifest.files.iter().try_for_each(|file| check_name(&file.name))?;
    Ok(manifest)
}

/// Checks that every file is there with the right size.
pub(crate) fn check_sizes(folder: &Path, manifest: &Manifest) -> Result<(), ArtifactError> {
    for file in &manifest.files {
        let path = folder.join(&file.name);
        let corrupt =
            |reason: String| ArtifactError::CorruptFile { version: manifest.version, path: path.clone(), reason };
        let found = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(corrupt("is missing".to_owned())),
            Err(error) => return Err(error).doing("look at a model file"),
        };
        if found != file.bytes {
            return Err(corrupt(format!("has {found} bytes, but the manifest says {}", file.bytes)));
        }
    }
    Ok(())
}
