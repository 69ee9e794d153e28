//! A disk in memory for tests, which can do what real ones do on their worst day: forget whatever was not synced, keep a
//! part of it, stop in the middle of a write, run full, fail a sync, or take its time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::storage::{Storage, StorageFile};

/// A folder for what is not on the modelled disk, where syncs cost nothing if there is such a place.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What is left after the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process was killed: the system still has all that was written.
    Kill,
    /// Power was lost: nothing is left of what was not synced.
    LoseUnsynced,
    /// Power was lost: some of what was not synced is left, in whole or in part, or as zeros; the number decides.
    Tear(u64),
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// The machine stops at the operation that brings this to zero.
    operations_left: Option<u64>,
    /// Set once it stopped: every operation fails.
    stopped: bool,
    /// Bytes that can still be written.
    space: Option<u64>,
    /// No write takes more than this at once.
    write_at_most: Option<usize>,
    fail_next_sync: bool,
    /// Syncs wait as long as this is set.
    hold_syncs: bool,
    syncs_waiting: usize,
}

/// A handle on the disk; clones share it.
#[derive(Clone)]
pub(crate) struct ModelDisk {
    path: PathBuf,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl ModelDisk {
    pub(crate) fn new() -> Self {
        Self { path: PathBuf::from("model"), state: Arc::default() }
    }

    /// Stops the machine at the `operations`-th change from now on.
    pub(crate) fn stop_after(&self, operations: u64) {
        self.state.0.lock().operations_left = Some(operations);
    }

    pub(crate) fn set_space(&self, bytes: Option<u64>) {
        self.state.0.lock().space = bytes;
    }

    pub(crate) fn write_at_most(&self, bytes: usize) {
        self.state.0.lock().write_at_most = Some(bytes);
    }

    pub(crate) fn fail_next_sync(&self) {
        self.state.0.lock().fail_next_sync = true;
    }

    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.state.0.lock().hold_syncs = hold;
        self.state.1.notify_all();
    }

    /// Waits until a sync is being held.
    pub(crate) fn wait_for_held_sync(&self) {
        let mut state = self.state.0.lock();
        while state.syncs_waiting == 0 {
            self.state.1.wait(&mut state);
        }
    }

    /// The disk as the next start finds it.
    pub(crate) fn after(&self, crash: Crash) -> Self {
        let state = self.state.0.lock();
        let mut random = Random(match crash {
            Crash::Tear(seed) => seed,
            _ => 0,
        });
        let mut names = match crash {
            Crash::Kill => state.names.clone(),
            _ => state.durable_names.clone(),
        };
        if matches!(crash, Crash::Tear(_)) {
            names.extend(state.names.iter().filter(|_| random.below(2) == 0).map(|(name, id)| (name.clone(), *id)));
        }
        let inodes = state.inodes.iter().map(|inode| {
            let content = match crash {
                Crash::Kill => inode.cached.clone(),
                Crash::LoseUnsynced => inode.durable.clone(),
                Crash::Tear(_) => tear(inode, &mut random),
            };
            // After a kill the page cache stays what it was: not synced.
            let durable = if crash == Crash::Kill { inode.durable.clone() } else { content.clone() };
            Inode { cached: content, durable }
        });
        let durable_names = if crash == Crash::Kill { state.durable_names.clone() } else { names.clone() };
        let next = State { inodes: inodes.collect(), names, durable_names, ..State::default() };
        Self { path: self.path.clone(), state: Arc::new((Mutex::new(next), Condvar::new())) }
    }
}

/// Keeps what was synced, and of the rest a random length with random runs of zeros.
fn tear(inode: &Inode, random: &mut Random) -> Vec<u8> {
    if inode.cached.len() < inode.durable.len() {
        // A truncation that may or may not have happened.
        return if random.below(2) == 0 { inode.cached.clone() } else { inode.durable.clone() };
    }
    let mut content = inode.cached.clone();
    let synced = inode.durable.len().min(content.len());
    content[..synced].copy_from_slice(&inode.durable[..synced]);
    let unsynced = content.len() - synced;
    content.truncate(synced + random.below(unsynced + 1));
    let kept = content.len() - synced;
    if kept > 0 && random.below(2) == 0 {
        let from = synced + random.below(kept);
        let to = from + random.below(content.len() - from + 1);
        content[from..to].fill(0);
    }
    content
}

/// A small generator, so that a failing case replays from its number.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

impl State {
    /// Counts an operation; `Err` if the machine has stopped, `Ok(true)` if it stops during this one.
    fn operation(&mut self) -> io::Result<bool> {
        if self.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        match &mut self.operations_left {
            Some(0 | 1) => {
                self.stopped = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn stopping() -> io::Error {
    io::Error::other("the machine stops")
}

impl Storage for ModelDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state.0.lock();
        let stops = state.operation()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        if stops {
            return Err(stopping());
        }
        Ok(Box::new(ModelFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let inode = self.state.0.lock().find(name)?;
        Ok(Box::new(ModelFile { disk: self.clone(), inode }))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.0.lock();
        let stops = state.operation()?;
        state.names.remove(name);
        if stops { Err(stopping()) } else { Ok(()) }
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state.0.lock();
        let stops = state.operation()?;
        state.durable_names = state.names.clone();
        if stops { Err(stopping()) } else { Ok(()) }
    }
}

struct ModelFile {
    disk: ModelDisk,
    inode: usize,
}

impl StorageFile for ModelFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.0.lock().inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state.0.lock();
        let content = state.inodes[self.inode].cached.get(offset as usize..).unwrap_or_default();
        let read = content.len().min(buf.len());
        buf[..read].copy_from_slice(&content[..read]);
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state.0.lock();
        let stops = state.operation()?;
        let mut most = state.write_at_most.unwrap_or(buf.len()).min(buf.len());
        if let Some(space) = state.space {
            if space == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            most = most.min(space as usize);
            state.space = Some(space - most as u64);
        }
        if stops {
            most /= 2;
        }
        let (from, to) = (offset as usize, offset as usize + most);
        let content = &mut state.inodes[self.inode].cached;
        content.resize(content.len().max(to), 0);
        content[from..to].copy_from_slice(&buf[..most]);
        if stops { Err(stopping()) } else { Ok(most) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.0.lock();
        while state.hold_syncs {
            state.syncs_waiting += 1;
            self.disk.state.1.notify_all();
            self.disk.state.1.wait(&mut state);
            state.syncs_waiting -= 1;
        }
        let stops = state.operation()?;
        if std::mem::take(&mut state.fail_next_sync) {
            return Err(io::Error::other("the disk is dying"));
        }
        let inode = &mut state.inodes[self.inode];
        inode.durable = inode.cached.clone();
        if stops { Err(stopping()) } else { Ok(()) }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.0.lock();
        let stops = state.operation()?;
        state.inodes[self.inode].cached.truncate(len as usize);
        if stops { Err(stopping()) } else { Ok(()) }
    }
}
