//! Whether anybody has touched a generation or the pointer since the last look, told without reading a file.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err as fs;

/// The state of the pointer and of the files of one generation: equal as long as nothing was written, replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(OsString, FileState)>);

/// Inode, size and the time of the last change, in seconds and nanoseconds. (The time of change, unlike that of
/// modification, cannot be set back by a copy that keeps times.)
type FileState = (u64, u64, i64, i64);

impl Stamp {
    /// What cannot be looked at counts as not there.
    pub(crate) fn of(pointer: &Path, folder: &Path) -> Self {
        let state = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
        };
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let paths = files.chain([pointer.to_owned()]);
        let mut states: Vec<_> = paths.filter_map(|path| Some((path.file_name()?.to_owned(), state(&path)?))).collect();
        states.sort_unstable();
        Self(states)
    }
}
