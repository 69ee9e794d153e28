//! One writer at a time: an advisory lock on a file that names its holder. The system lets go of it when the holder ends,
//! however it ends.

use std::fs::TryLockError;
use std::io::{Read, Write};
use std::path::Path;

use fs_err as fs;

use crate::LogError;

/// Held as long as it lives.
pub(crate) struct WriterLock(#[expect(dead_code, reason = "dropping the file lets go of the lock")] fs::File);

impl WriterLock {
    /// Takes the lock of the log in `dir`.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, LogError> {
        let path = dir.join("lock");
        let options = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(&path).map_err(|e| LogError::io("open", &path, e))?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let named = file.read_to_string(&mut text).is_ok() && text.trim().parse::<u32>().is_ok();
                let holder = if named { format!("process {}", text.trim()) } else { "another process".to_owned() };
                return Err(LogError::Locked { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(LogError::io("lock", &path, e)),
        }
        // The pid is a courtesy to whoever comes second; a full disk must not keep the first one out.
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(e) = noted {
            tracing::warn!("could not note the process id in {}: {e}", path.display());
        }
        Ok(Self(file))
    }
}
