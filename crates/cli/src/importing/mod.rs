//! One file into one sink: rows are read and checked on one thread and written on another, so that neither waits for the
//! other's disk. Used by `import` and `demo`.

mod http;
mod sink;
mod unchanged;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use tastemaker_config::Config;
use tastemaker_import::{Import, Kind};
use tastemaker_types::Record;

pub(crate) use self::http::Http;
pub(crate) use self::sink::{Log, Sink, Written};
use crate::interrupt;
use crate::output::{Output, count};
use crate::progress::Progress;

/// Records in one write, with one sync.
const CALL_RECORDS: usize = 10_000;
/// Batches that may wait to be written.
const WAITING_BATCHES: usize = 16;

/// What became of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    /// The file.
    pub(crate) file: PathBuf,
    /// `events`, `items` or `users`.
    pub(crate) kind: &'static str,
    /// What became of the rows that were accepted.
    #[serde(flatten)]
    pub(crate) written: Written,
    /// What was read, accepted and refused.
    #[serde(flatten)]
    pub(crate) report: tastemaker_import::Report,
    /// Whether the import was broken off before the end of the file.
    pub(crate) interrupted: bool,
}

/// Imports the file into `sink`. Ctrl-C ends it after what is being written.
pub(crate) fn import_file(
    config: &Config,
    kind: Kind,
    file: &Path,
    sink: &mut (dyn Sink + Send),
    output: Output,
) -> Result<Imported> {
    let mut import = Import::open(file, kind, config)?;
    let mut progress = Progress::new(output);
    let phase = format!("importing {}", kind.section());
    let started = Instant::now();
    let (sender, receiver) = sync_channel(WAITING_BATCHES);
    let (read, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || write(&receiver, sink));
        let read = (|| -> Result<bool> {
            while let Some(batch) = import.next() {
                // The writer hangs up when it fails, and then has the reason.
                if sender.send(batch?).is_err() {
                    break;
                }
                let at = import.progress();
                let rate = at.rows as f64 / started.elapsed().as_secs_f64().max(0.001);
                let note = format!("{} rows, {} rows/s", count(at.rows), count(rate as u64));
                progress.update(&phase, at.bytes, Some(at.total_bytes), &note);
                if interrupt::interrupted() {
                    return Ok(true);
                }
            }
            Ok(false)
        })();
        drop(sender);
        (read, writer.join())
    });
    drop(progress);
    let written = written.map_err(|_| anyhow!("the thread that writes has failed"))??;
    let interrupted = read.with_context(|| already_in(&written))?;
    Ok(Imported { file: file.to_owned(), kind: kind.section(), written, report: import.into_report(), interrupted })
}

fn already_in(written: &Written) -> String {
    format!("{} records were imported before the file broke off", written.written)
}

fn write(batches: &Receiver<Vec<Record>>, sink: &mut (dyn Sink + Send)) -> Result<Written> {
    let mut written = Written::default();
    while let Ok(mut records) = batches.recv() {
        while records.len() < CALL_RECORDS
            && let Ok(more) = batches.try_recv()
        {
            records.extend(more);
        }
        written += sink.write(records)?;
    }
    Ok(written)
}
