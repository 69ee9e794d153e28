//! The folder of generations: numbering, listing, promotion, rollback and clearing away of old ones.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::error::Doing;
use crate::generation::{check_sizes, read_manifest};
use crate::pointer::{self, Pointer};
use crate::{ArtifactError, Draft, Generation, Manifest, Stamp, Version};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const MANIFEST_CHECKSUM: &str = "manifest.sha256";
const DRAFTS: &str = "drafts";
const LOCK: &str = ".lock";

/// A generation as listed, whether usable or not.
#[derive(Debug)]
pub struct Listed {
    /// Its number.
    pub version: Version,
    /// Whether it serves.
    pub champion: bool,
    /// Its manifest, or what is wrong (checksums are checked on opening alone).
    pub manifest: Result<Manifest, ArtifactError>,
}

/// The generations of one project. Cheap to clone; any number of processes may use one folder.
#[derive(Debug, Clone)]
pub struct GenerationStore {
    dir: PathBuf,
}

impl GenerationStore {
    /// The store in `dir`, which is made by the first [`GenerationStore::begin`]; reading needs no write access.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a generation, and sweeps what crashed processes left behind.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(&self) -> Result<Draft, ArtifactError> {
        let drafts = self.dir.join(DRAFTS);
        fs::create_dir_all(&drafts).doing("make the folder of generations")?;
        let _lock = self.lock()?;
        Draft::sweep(&drafts)?;
        Draft::create(self.clone(), &drafts)
    }

    /// The generation that serves, if any was promoted.
    ///
    /// # Errors
    /// The pointer cannot be read.
    pub fn champion(&self) -> Result<Option<Version>, ArtifactError> {
        Ok(Pointer::read(&self.dir)?.map(|pointer| pointer.champion))
    }

    /// The generation that a rollback would go back to.
    ///
    /// # Errors
    /// The pointer cannot be read.
    pub fn rollback_target(&self) -> Result<Option<Version>, ArtifactError> {
        let next = Pointer::read(&self.dir)?.and_then(|pointer| pointer.roll_back(|v| self.exists(v)));
        Ok(next.map(|pointer| pointer.champion))
    }

    /// What the pointer and the files of `version` look like now; equal to an earlier stamp if nobody touched them since.
    pub fn stamp(&self, version: Version) -> Stamp {
        Stamp::of(&self.dir.join(pointer::NAME), &self.folder(version))
    }

    /// All versions, in order, whether usable or not.
    ///
    /// # Errors
    /// The folder cannot be read. A folder that does not exist is an empty list.
    pub fn versions(&self) -> Result<Vec<Version>, ArtifactError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).doing("list generations"),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry.doing("list generations")?.file_name();
            versions.extend(name.to_str().and_then(Version::from_folder));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// All generations, in order; a corrupt one is listed with its error.
    ///
    /// # Errors
    /// The folder or the champion pointer cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, ArtifactError> {
        let champion = self.champion()?;
        let describe = |version| {
            let folder = self.folder(version);
            let manifest =
                read_manifest(&folder, version).and_then(|manifest| check_sizes(&folder, &manifest).map(|()| manifest));
            Listed { version, champion: champion == Some(version), manifest }
        };
        Ok(self.versions()?.into_iter().map(describe).collect())
    }

    /// What the generation says about itself, its other files unchecked.
    ///
    /// # Errors
    /// It does not exist or its manifest is corrupt.
    pub fn manifest(&self, version: Version) -> Result<Manifest, ArtifactError> {
        self.check_exists(version)?;
        read_manifest(&self.folder(version), version)
    }

    /// Opens a generation after checking the size and checksum of every file.
    ///
    /// # Errors
    /// It does not exist, or a file differs from its manifest; the error names the file.
    pub fn load(&self, version: Version) -> Result<Generation, ArtifactError> {
        self.check_exists(version)?;
        Generation::open(self.folder(version), version)
    }

    /// Makes `version` the champion, after checking every file. If it already is, the pointer is written again as it was: a
    /// server that had refused it looks again.
    ///
    /// # Errors
    /// It is missing or corrupt; the champion stays.
    pub fn promote(&self, version: Version) -> Result<(), ArtifactError> {
        self.load(version)?;
        let _lock = self.lock()?;
        let current = match Pointer::read(&self.dir) {
            // Promoting is how a corrupt pointer is mended.
            Err(ArtifactError::CorruptPointer { .. }) => None,
            other => other?,
        };
        match current {
            Some(pointer) if pointer.champion == version => pointer.write(&self.dir),
            current => Pointer::promote(current, version).write(&self.dir),
        }
    }

    /// Makes the champion before the present one the champion again, and returns it.
    ///
    /// # Errors
    /// There was none, or it was deleted, or it is corrupt; the champion stays.
    pub fn rollback(&self) -> Result<Version, ArtifactError> {
        if !self.dir.exists() {
            return Err(ArtifactError::NothingToRollBack);
        }
        let _lock = self.lock()?;
        let pointer = Pointer::read(&self.dir)?.ok_or(ArtifactError::NothingToRollBack)?;
        let earlier = pointer.roll_back(|v| self.exists(v)).ok_or(ArtifactError::NothingToRollBack)?;
        self.load(earlier.champion)?;
        earlier.write(&self.dir)?;
        Ok(earlier.champion)
    }

    /// Deletes all but the latest `keep` generations, the champion, and the one that a rollback would go back to.
    /// Returns what was deleted.
    ///
    /// # Errors
    /// The folder cannot be changed.
    pub fn prune(&self, keep: usize) -> Result<Vec<Version>, ArtifactError> {
        let versions = self.versions()?;
        if versions.len() <= keep {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let protected = [self.champion()?, self.rollback_target()?];
        let old = versions[..versions.len() - keep].iter().copied();
        let old: Vec<Version> = old.filter(|version| !protected.contains(&Some(*version))).collect();
        for version in &old {
            // First out of sight in one step, so that a crash leaves no half-deleted generation in the list.
            let aside = self.dir.join(DRAFTS).join(format!("deleted-{}", version.folder()));
            fs::rename(self.folder(*version), &aside).doing("delete an old generation")?;
            fs::remove_dir_all(&aside).doing("delete an old generation")?;
        }
        Ok(old)
    }

    pub(crate) fn folder(&self, version: Version) -> PathBuf {
        self.dir.join(version.folder())
    }

    /// One past every version that exists or was ever pointed at; the caller holds the lock.
    pub(crate) fn next_version(&self) -> Result<Version, ArtifactError> {
        let pointed = match Pointer::read(&self.dir) {
            Err(ArtifactError::CorruptPointer { .. }) => None,
            other => other?,
        };
        let pointed = pointed.into_iter().flat_map(|p| p.previous.into_iter().chain([p.champion]));
        let newest = self.versions()?.into_iter().chain(pointed).max();
        Ok(Version(newest.map_or(1, |version| version.0 + 1)))
    }

    /// Waits for the store's lock, which is held for as long as the file lives.
    pub(crate) fn lock(&self) -> Result<fs::File, ArtifactError> {
        let file = fs::File::create(self.dir.join(LOCK)).doing("lock the folder of generations")?;
        file.file().lock().doing("lock the folder of generations")?;
        Ok(file)
    }

    fn exists(&self, version: Version) -> bool {
        self.folder(version).is_dir()
    }

    fn check_exists(&self, version: Version) -> Result<(), ArtifactError> {
        if self.exists(version) {
            return Ok(());
        }
        let known: Vec<String> = self.versions()?.iter().map(Version::to_string).collect();
        let known = match known.as_slice() {
            [] => "; there are none yet, train the first (`tastemaker train`)".to_owned(),
            known => format!("; there are: {}", known.join(", ")),
        };
        Err(ArtifactError::NoSuchVersion { version, known })
    }
}

/// Accepts plain file names alone, so that no manifest can point outside of its folder.
pub(crate) fn check_name(name: &str) -> Result<(), ArtifactError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let refuse = |reason| Err(ArtifactError::BadFileName { name: name.to_owned(), reason });
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(plain) {
        return refuse("names are 1 to 128 of letters, digits, '.', '_', '-' not starting with a dot");
    }
    if name == MANIFEST || name == MANIFEST_CHECKSUM {
        return refuse("the name is taken by the store");
    }
    Ok(())
}
