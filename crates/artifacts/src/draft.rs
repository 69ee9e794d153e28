//! A generation in the making: a private folder that becomes a generation by one rename, or vanishes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;
use tastemaker_types::Timestamp;

use crate::error::Doing;
use crate::manifest::FORMAT;
use crate::store::{GenerationStore, MANIFEST, MANIFEST_CHECKSUM, check_name};
use crate::{ArtifactError, FileEntry, Manifest, NewGeneration, Version, checksum, durable};

/// A generation in the making. Write its files to [`Draft::file`] and call [`Draft::publish`]; dropping it instead
/// removes everything.
#[derive(Debug)]
pub struct Draft {
    store: GenerationStore,
    folder: PathBuf,
    /// Locked for as long as the draft lives, so that another process can tell it from a leftover of a crash.
    owner: Option<(PathBuf, fs::File)>,
}

impl Draft {
    /// Makes an empty draft in `drafts`; the caller holds the store's lock, so that no sweep sees it half made.
    pub(crate) fn create(store: GenerationStore, drafts: &Path) -> Result<Self, ArtifactError> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{}-{}-{}",
            std::process::id(),
            Timestamp::now().as_micros(),
            STARTED.fetch_add(1, Ordering::Relaxed)
        );
        let owner_path = drafts.join(format!("{name}.lock"));
        let owner = fs::File::create(&owner_path).doing("start a draft")?;
        owner.file().lock().doing("lock a draft")?;
        let folder = drafts.join(name);
        fs::create_dir(&folder).doing("start a draft")?;
        Ok(Self { store, folder, owner: Some((owner_path, owner)) })
    }

    /// Removes the drafts whose process is gone; the caller holds the store's lock.
    pub(crate) fn sweep(drafts: &Path) -> Result<(), ArtifactError> {
        for entry in fs::read_dir(drafts).doing("list drafts")? {
            let path = entry.doing("list drafts")?.path();
            if path.extension().is_some_and(|extension| extension == "lock") {
                let owner = match fs::File::open(&path) {
                    // It ended by itself since the list was read.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    owner => owner.doing("open a draft's lock")?,
                };
                if owner.file().try_lock().is_ok() {
                    remove_folder(&path.with_extension(""))?;
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        removed => removed.doing("remove a leftover draft")?,
                    }
                }
            } else if !path.with_extension("lock").exists() {
                remove_folder(&path)?; // a generation whose deletion was cut short
            }
        }
        Ok(())
    }

    /// Where to write the file `name` (letters, digits, `.`, `_`, `-`).
    ///
    /// # Errors
    /// The name is not a plain file name.
    pub fn file(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        check_name(name)?;
        Ok(self.folder.join(name))
    }

    /// Makes everything durable, then makes it a generation, in one step. It does not serve before it is promoted.
    ///
    /// # Errors
    /// Nothing is published and the draft is removed.
    pub fn publish(self, about: NewGeneration) -> Result<Version, ArtifactError> {
        let files = self.seal()?;
        let _lock = self.store.lock()?;
        let version = self.store.next_version()?;
        let manifest = Manifest {
            format: FORMAT,
            version,
            project: about.project,
            created_at: Timestamp::now(),
            model: about.model,
            lineage: about.lineage,
            evaluation: about.evaluation,
            files,
        };
        let content = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from).doing("write a manifest")?;
        let sum = format!("{}  {MANIFEST}\n", checksum::of_bytes(&content));
        durable::write_synced(&self.folder.join(MANIFEST), &content)?;
        durable::write_synced(&self.folder.join(MANIFEST_CHECKSUM), sum.as_bytes())?;
        durable::sync_dir(&self.folder)?;
        fs::rename(&self.folder, self.store.folder(version)).doing("publish a generation")?;
        durable::sync_dir(self.store.dir())?;
        Ok(version)
    }

    /// Syncs every file and returns their checksums, in name order.
    fn seal(&self) -> Result<Vec<FileEntry>, ArtifactError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).doing("read a draft")? {
            let entry = entry.doing("read a draft")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            check_name(&name)?;
            if !entry.file_type().doing("read a draft")?.is_file() {
                return Err(ArtifactError::BadFileName { name, reason: "only plain files may be in a generation" });
            }
            fs::File::open(entry.path()).and_then(|file| file.sync_all()).doing("sync a model file")?;
            let (sha256, bytes) = checksum::of_file(&entry.path())?;
            files.push(FileEntry { name, bytes, sha256 });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing the folder is gone already. What cannot be removed now is swept by the next draft.
        let _ = remove_folder(&self.folder);
        if let Some((path, file)) = self.owner.take() {
            let _ = fs::remove_file(path);
            drop(file);
        }
    }
}

fn remove_folder(path: &Path) -> Result<(), ArtifactError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing("remove a leftover draft"),
        _ => Ok(()),
    }
}
