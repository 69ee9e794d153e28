//! An external merge sort of encoded events by day and position. Within the memory limit nothing touches the disk; beyond
//! it, sorted runs do, and are merged at the end, at most [`FAN_IN`] at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use fs_err as fs;
use tastemaker_types::{Position, Timestamp};

/// Files that are merged at once.
const FAN_IN: usize = 64;
const READ_BUFFER: usize = 128 << 10;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// One event on its way through the sort.
pub(crate) struct Entry<'a> {
    pub(crate) position: Position,
    pub(crate) record: &'a [u8],
}

/// What entries are sorted by.
type Key = (i64, Position);

/// Collects entries and gives them out by day, in log order within a day.
pub(crate) struct DaySorter {
    dir: PathBuf,
    max_bytes: usize,
    /// Records one after the other, and where each is.
    arena: Vec<u8>,
    index: Vec<(Key, std::ops::Range<usize>)>,
    runs: Vec<PathBuf>,
    made: usize,
    len: u64,
}

impl DaySorter {
    /// Runs beyond `max_bytes` go to files in `dir`.
    pub(crate) fn new(dir: PathBuf, max_bytes: usize) -> Self {
        Self { dir, max_bytes, arena: Vec::new(), index: Vec::new(), runs: Vec::new(), made: 0, len: 0 }
    }

    /// Entries taken so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, timestamp: Timestamp, position: Position, record: &[u8]) -> io::Result<()> {
        let used = self.arena.len() + self.index.len() * size_of::<(Key, std::ops::Range<usize>)>();
        if used + record.len() > self.max_bytes && !self.index.is_empty() {
            self.spill()?;
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(record);
        let key = (timestamp.as_micros().div_euclid(DAY_MICROS), position);
        self.index.push((key, start..self.arena.len()));
        self.len += 1;
        Ok(())
    }

    /// Gives every entry to `visit`, in order.
    pub(crate) fn finish<E: From<io::Error>>(
        mut self,
        mut visit: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.runs.is_empty() {
            self.index.sort_unstable_by_key(|(key, _)| *key);
            return self.index.iter().try_for_each(|((_, position), range)| {
                let record = self.arena.get(range.clone()).unwrap_or_default();
                visit(Entry { position: *position, record })
            });
        }
        self.spill()?;
        self.arena = Vec::new();
        self.index = Vec::new();
        while self.runs.len() > FAN_IN {
            let merged: Vec<PathBuf> = self.runs.drain(..FAN_IN).collect();
            let (path, mut out) = self.new_run()?;
            merge(&merged, |key, record| write_entry(&mut out, key, record))?;
            out.flush()?;
            self.runs.push(path);
            merged.iter().try_for_each(fs::remove_file)?;
        }
        merge(&self.runs, |(_, position), record| visit(Entry { position, record }))
    }

    fn spill(&mut self) -> io::Result<()> {
        self.index.sort_unstable_by_key(|(key, _)| *key);
        let (path, mut out) = self.new_run()?;
        for (key, range) in &self.index {
            write_entry(&mut out, *key, self.arena.get(range.clone()).unwrap_or_default())?;
        }
        out.flush()?;
        self.runs.push(path);
        self.index.clear();
        self.arena.clear();
        Ok(())
    }

    fn new_run(&mut self) -> io::Result<(PathBuf, BufWriter<fs::File>)> {
        let path = self.dir.join(format!("run-{}", self.made));
        self.made += 1;
        let file = fs::File::create(&path)?;
        Ok((path, BufWriter::with_capacity(1 << 20, file)))
    }
}

/// `day:i64 position:u64 length:u32 record`, little-endian.
fn write_entry(out: &mut impl Write, (day, position): Key, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(io::Error::other)?;
    out.write_all(&day.to_le_bytes())?;
    out.write_all(&position.0.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(record)
}

/// A sorted run, at its current entry.
struct Run {
    file: BufReader<fs::File>,
    record: Vec<u8>,
}

impl Run {
    /// Reads the next entry; `None` at the end.
    fn advance(&mut self) -> io::Result<Option<Key>> {
        let mut day = [0; 8];
        match self.file.read_exact(&mut day) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        let (mut position, mut length) = ([0; 8], [0; 4]);
        self.file.read_exact(&mut position)?;
        self.file.read_exact(&mut length)?;
        self.record.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.record)?;
        Ok(Some((i64::from_le_bytes(day), Position(u64::from_le_bytes(position)))))
    }
}

fn merge<E: From<io::Error>>(paths: &[PathBuf], mut visit: impl FnMut(Key, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut runs = Vec::with_capacity(paths.len());
    let mut heads = BinaryHeap::with_capacity(paths.len());
    for path in paths {
        let mut run = Run { file: BufReader::with_capacity(READ_BUFFER, fs::File::open(path)?), record: Vec::new() };
        if let Some(key) = run.advance()? {
            heads.push(Reverse((key, runs.len())));
        }
        runs.push(run);
    }
    while let Some(Reverse((key, at))) = heads.pop() {
        let Some(run) = runs.get_mut(at) else { continue };
        visit(key, &run.record)?;
        if let Some(key) = run.advance()? {
            heads.push(Reverse((key, at)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn entries_come_out_by_day_then_position_whatever_the_memory(
            days in prop::collection::vec(-3i64..40, 0..400),
            max_bytes in 1usize..4_000,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = DaySorter::new(dir.path().to_owned(), max_bytes);
            let mut expected = Vec::new();
            for (position, day) in days.iter().enumerate() {
                let position = Position(position as u64);
                let record = format!("{position} on {day}").into_bytes();
                sorter.push(Timestamp::from_micros(day * DAY_MICROS + 17), position, &record).unwrap();
                expected.push((*day, position, record));
            }
            expected.sort_unstable();
            let mut found = Vec::new();
            sorter.finish(|entry| { found.push((entry.position, entry.record.to_vec())); Ok::<(), io::Error>(()) }).unwrap();
            let expected: Vec<_> = expected.into_iter().map(|(_, position, record)| (position, record)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
