//! What happened to entities, put aside in one temporary file in partitions of entities, each small enough for memory. The file has no name,
//! so that nothing is left behind however the process ends.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::OfflineError;

/// A partition goes to the file in pieces of this size.
const BLOCK_BYTES: usize = 64 << 10;

/// Something that happened to an entity, as it is put aside.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// Its number among those that are asked about.
    pub(super) entity: u32,
    /// When it counts from, in microseconds.
    pub(super) at: i64,
    /// Its place in the log.
    pub(super) position: u64,
    /// An encoded [`Happened`](super::stored::Happened).
    #[serde(borrow)]
    pub(super) happened: &'a [u8],
}

/// Partitions that are being filled.
pub(super) struct Spill {
    file: std::fs::File,
    length: u64,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    /// Where its pieces are in the file, and how long.
    blocks: Vec<(u64, usize)>,
    /// What has not gone there.
    buffer: Vec<u8>,
}

/// Partitions that are full.
pub(super) struct Spilled {
    file: Mutex<std::fs::File>,
    partitions: Vec<Partition>,
}

impl Spill {
    /// Empty partitions; the file is in `dir`.
    pub(super) fn new(dir: &Path, partitions: usize) -> io::Result<Self> {
        let file = tempfile::tempfile_in(dir)?;
        Ok(Self { file, length: 0, partitions: (0..partitions).map(|_| Partition::default()).collect() })
    }

    /// Adds to a partition.
    pub(super) fn add(&mut self, partition: usize, entry: &Entry<'_>) -> Result<(), OfflineError> {
        let Some(partition) = self.partitions.get_mut(partition) else { return Ok(()) };
        partition.buffer = postcard::to_extend(entry, std::mem::take(&mut partition.buffer))?;
        if partition.buffer.len() >= BLOCK_BYTES {
            self.file.write_all(&partition.buffer)?;
            partition.blocks.push((self.length, partition.buffer.len()));
            self.length += partition.buffer.len() as u64;
            partition.buffer.clear();
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Spilled {
        Spilled { file: Mutex::new(self.file), partitions: self.partitions }
    }
}

impl Spilled {
    /// All entries of a partition, encoded one after the other.
    pub(super) fn read(&self, partition: usize) -> io::Result<Vec<u8>> {
        let Some(partition) = self.partitions.get(partition) else { return Ok(Vec::new()) };
        let length: usize = partition.blocks.iter().map(|(_, length)| length).sum();
        let mut bytes = vec![0; length];
        let mut rest = bytes.as_mut_slice();
        let mut file = self.file.lock();
        for (offset, length) in &partition.blocks {
            let (block, later) = rest.split_at_mut(*length);
            file.seek(SeekFrom::Start(*offset))?;
            file.read_exact(block)?;
            rest = later;
        }
        drop(file);
        bytes.extend_from_slice(&partition.buffer);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_come_back_in_the_order_of_arrival_whatever_their_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path(), 3).unwrap();
        let content = |n: u64| vec![n as u8; (n * 37 % 500) as usize];
        for n in 0..5_000u64 {
            let happened = content(n);
            let entry = Entry { entity: n as u32, at: -(n as i64), position: n, happened: &happened };
            spill.add((n % 2) as usize, &entry).unwrap();
        }
        let spilled = spill.finish();
        for partition in 0..2u64 {
            let bytes = spilled.read(partition as usize).unwrap();
            assert!(bytes.len() > 3 * BLOCK_BYTES, "several blocks are tested");
            let mut rest = bytes.as_slice();
            for n in (partition..5_000).step_by(2) {
                let (entry, later) = postcard::take_from_bytes::<Entry<'_>>(rest).unwrap();
                assert_eq!((entry.entity, entry.at, entry.position), (n as u32, -(n as i64), n));
                assert_eq!(entry.happened, content(n));
                rest = later;
            }
            assert!(rest.is_empty());
        }
        assert!(spilled.read(2).unwrap().is_empty());
    }
}
