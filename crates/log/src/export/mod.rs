//! Events out of the log into Parquet files partitioned by day: `OUT/events/date=YYYY-MM-DD/part-00000.parquet`, for Spark,
//! DuckDB, DataFusion and anything else that reads hive partitions. An external sort by day keeps memory bounded however
//! many days and events there are, and the files come out large and in log order within a day.

mod parts;
mod sort;

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use parquet::errors::ParquetError;
use tastemaker_types::Position;

use crate::{LogError, LogReader, wire};
use parts::PartWriter;
use sort::DaySorter;

/// Why an export failed. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something is there already.
    #[error("{} is not empty; choose another folder, or ask for it to be replaced", path.display())]
    NotEmpty {
        /// The folder that would be written.
        path: PathBuf,
    },
    /// The folder that would be replaced holds something else than an export.
    #[error("{} was not written by an export, so its folder is not replaced; choose another, or remove it yourself", path.display())]
    NotOurs {
        /// The first such thing.
        path: PathBuf,
    },
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file could not be written.
    #[error("could not write the export: {0}")]
    Io(#[from] io::Error),
    /// The Parquet writer failed.
    #[error("could not write Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// A record of the log could not be read.
    #[error("record {position} cannot be exported: {detail}")]
    Record {
        /// Where it is in the log.
        position: Position,
        /// What is wrong.
        detail: String,
    },
}

/// How to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Replace what an earlier export wrote.
    pub overwrite: bool,
    /// Bytes of events sorted in memory; beyond that, sorted runs go to temporary files in the output folder.
    pub sort_bytes: usize,
    /// The most rows in one file.
    pub part_rows: usize,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { overwrite: false, sort_bytes: 128 << 20, part_rows: 5_000_000 }
    }
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportProgress {
    /// Records of the log that were read.
    Read {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Events that were written.
    Written {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Rows.
    pub events: u64,
    /// Folders.
    pub days: u64,
    /// Files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Records between two calls of the progress listener.
const PROGRESS_EVERY: u64 = 10_000;

/// Writes every event that is in the log now under `out_dir/events`. The folder appears whole at the end or not at all;
/// temporary files live in a hidden folder beside it and need about as much space as the events in the log.
///
/// The columns are those of [`event_schema`](crate::event_schema); the partition `date` is the UTC day of `timestamp`.
///
/// # Errors
/// [`ExportError::NotEmpty`] unless `overwrite` is set; anything that keeps the log from being read or files from being
/// written.
pub fn events_to_parquet(
    reader: &LogReader,
    out_dir: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(ExportProgress),
) -> Result<ExportReport, ExportError> {
    let target = out_dir.join("events");
    let taken = !is_vacant(&target)?;
    if taken && !options.overwrite {
        return Err(ExportError::NotEmpty { path: target });
    }
    if let Some(stranger) = stranger(&target)? {
        return Err(ExportError::NotOurs { path: stranger });
    }
    let work = WorkDir::create(out_dir)?;
    let mut sorter = DaySorter::new(work.path.join("runs"), options.sort_bytes);
    let end = reader.end()?;
    let mut frames = reader.frames(Position(0));
    let mut done = 0;
    let mut failure = None;
    while done < end.0 {
        let more = frames.next(|position, bytes| {
            if let Some((_, timestamp)) = wire::decode_event_key(bytes)?
                && failure.is_none()
                && let Err(e) = sorter.push(timestamp, position, bytes)
            {
                failure = Some(e);
            }
            done = position.0 + 1;
            if done.is_multiple_of(PROGRESS_EVERY) {
                progress(ExportProgress::Read { done, total: end.0 });
            }
            Ok(())
        })?;
        if let Some(e) = failure {
            return Err(e.into());
        }
        if !more {
            break;
        }
    }
    progress(ExportProgress::Read { done, total: end.0 });

    let events = work.path.join("events");
    fs::create_dir(&events)?;
    let total = sorter.len();
    let mut writer = PartWriter::new(events.clone(), options.part_rows)?;
    sorter.finish(|entry| {
        let event = match wire::decode(entry.record) {
            Ok(tastemaker_types::Record::Event(event)) => event,
            Ok(_) => return Ok(()),
            Err(detail) => return Err(ExportError::Record { position: entry.position, detail }),
        };
        writer.push(entry.position, event, entry.record.len())?;
        if writer.rows().is_multiple_of(PROGRESS_EVERY) {
            progress(ExportProgress::Written { done: writer.rows(), total });
        }
        Ok(())
    })?;
    let report = writer.finish()?;
    progress(ExportProgress::Written { done: report.events, total });
    put_in_place(&work, &events, &target)?;
    Ok(report)
}

/// Nothing is there, or an empty folder.
fn is_vacant(target: &Path) -> io::Result<bool> {
    match fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}

/// Something in the folder that no export has put there.
fn stranger(target: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let path = entry?.path();
        let ours = path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("date="));
        if !ours {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn put_in_place(work: &WorkDir, made: &Path, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_ok() {
        fs::rename(target, work.path.join("replaced"))?;
    }
    fs::rename(made, target)?;
    match target.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A hidden folder that goes away with this value.
struct WorkDir {
    path: PathBuf,
    /// Held while it is used.
    _lock: std::fs::File,
}

/// With a process id behind it.
const WORK: &str = ".export-";

/// Removes what exports that were killed have left.
fn remove_abandoned(out_dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(out_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(WORK) {
            let lock = std::fs::File::open(entry.path().join("lock"));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}

impl WorkDir {
    fn create(out_dir: &Path) -> io::Result<Self> {
        remove_abandoned(out_dir)?;
        let path = out_dir.join(format!("{WORK}{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let lock = std::fs::File::create(path.join("lock"))?;
        lock.lock()?;
        fs::create_dir(path.join("runs"))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!("could not remove temporary files: {e}");
        }
    }
}
