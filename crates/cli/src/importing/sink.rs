//! Where imported records go: into the event log, or (`http`) to a server that has it open. A sink takes any number of
//! records and splits them into calls that the other side takes.

use std::ops::AddAssign;

use anyhow::{Result, bail};
use serde::Serialize;
use tastemaker_config::Config;
use tastemaker_log::{EventLog, LogError, LogOptions};
use tastemaker_types::Record;

use super::unchanged::Unchanged;

/// Encoded bytes in one call of the log, which takes no more than 32 MiB, and the largest record beside.
const CALL_BYTES: usize = 16 << 20;

/// What became of the records of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Written {
    /// New records in the log.
    pub(crate) written: u64,
    /// Records that were there already, and were not written again.
    pub(crate) duplicates: u64,
    /// Records that the server refused.
    pub(crate) refused_by_server: u64,
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.refused_by_server += other.refused_by_server;
    }
}

/// Takes records for good.
pub(crate) trait Sink {
    /// Returns when they are on disk.
    fn write(&mut self, records: Vec<Record>) -> Result<Written>;
}

/// The project's event log, opened as its writer.
pub(crate) struct Log {
    log: EventLog,
    entities: Option<Unchanged>,
}

impl Log {
    /// Opens the log; `entities` for files of items or users.
    pub(crate) fn open(config: &Config, entities: bool) -> Result<Self> {
        let options = LogOptions { segment_bytes: config.storage.segment_size.bytes(), ..LogOptions::default() };
        let log = match EventLog::open(config.storage.log_dir(), options, Box::new(|_| {})) {
            Err(error @ LogError::Locked { .. }) => bail!(
                "{error}. If that is a running server, it takes the file too: add --url http://{} (and --key KEY if it \
                 asks for one)",
                config.server.listen
            ),
            other => other?,
        };
        let entities = entities.then(|| Unchanged::read(&log.reader())).transpose()?;
        Ok(Self { log, entities })
    }

    /// Commits and lets go of the log.
    pub(crate) fn close(self) -> Result<()> {
        Ok(self.log.close()?)
    }
}

impl Sink for Log {
    fn write(&mut self, mut records: Vec<Record>) -> Result<Written> {
        let given = records.len() as u64;
        if let Some(entities) = &mut self.entities {
            records.retain(|record| entities.changes(record));
        }
        let mut written = 0;
        while !records.is_empty() {
            let rest = records.split_off(fitting(&records, usize::MAX, CALL_BYTES, Record::size_bound));
            let appended = self.log.append(std::mem::replace(&mut records, rest))?;
            written += appended.iter().filter(|appended| !appended.duplicate).count() as u64;
        }
        Ok(Written { written, duplicates: given - written, refused_by_server: 0 })
    }
}

/// How many of the first items go into one call of at most `most` items and `bytes` bytes; at least one, if there is one.
pub(super) fn fitting<T>(items: &[T], most: usize, bytes: usize, size: impl Fn(&T) -> usize) -> usize {
    let mut sum = 0;
    let fits = items.iter().take(most).take_while(|item| {
        sum += size(item);
        sum <= bytes
    });
    fits.count().max(1).min(items.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tastemaker_types::{EntityUpsert, Timestamp, UpsertMode, Value};

    use super::*;

    #[test]
    fn calls_are_full_and_never_empty() {
        let sizes = [3, 3, 3, 50, 1, 1, 1, 1];
        let mut rest = &sizes[..];
        let mut calls = Vec::new();
        while !rest.is_empty() {
            let (call, after) = rest.split_at(fitting(rest, 3, 10, |size| *size));
            calls.push(call.to_vec());
            rest = after;
        }
        assert_eq!(calls, [&[3, 3, 3][..], &[50], &[1, 1, 1], &[1]]);
    }

    #[test]
    fn records_of_more_bytes_than_a_call_takes_are_written_in_several() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::parse("[items.attributes]\ntitle = \"text\"\n").unwrap();
        config.storage.data_dir = dir.path().to_owned();
        let item = |n: usize| {
            let attributes = BTreeMap::from([("title".to_owned(), Value::Text(n.to_string().repeat(20_000)))]);
            let (mode, timestamp) = (UpsertMode::Merge, Timestamp::EPOCH);
            Record::ItemUpsert(EntityUpsert { id: n.to_string(), attributes, mode, timestamp })
        };
        let items: Vec<Record> = (100..900).map(item).collect();
        assert!(items.iter().map(Record::size_bound).sum::<usize>() > LogOptions::default().max_call_bytes);
        let mut log = Log::open(&config, true).unwrap();
        let written = log.write(items).unwrap();
        log.close().unwrap();
        assert_eq!((written.written, written.duplicates), (800, 0));
    }
}
