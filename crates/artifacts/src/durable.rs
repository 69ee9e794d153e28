//! Writing so that it survives a power cut: content first, then the name, then the folder that holds the name.

use std::io::Write;
use std::path::Path;

use fs_err as fs;

use crate::ArtifactError;
use crate::error::Doing;

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), ArtifactError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).doing("sync a folder of models")
}

/// Writes a file and makes its content (not yet its name) durable.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> Result<(), ArtifactError> {
    fs::File::create(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .doing("write a model file")
}

/// Replaces the file at `dir/name` in one step: readers see the old or the new content, never a mixture.
pub(crate) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<(), ArtifactError> {
    let fresh = dir.join(format!(".{name}.new"));
    write_synced(&fresh, content)?;
    fs::rename(&fresh, dir.join(name)).doing("replace the champion pointer")?;
    sync_dir(dir)
}
