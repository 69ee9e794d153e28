//! The state all indexes share: a large immutable block, the changes since, and the writer that publishes a new snapshot for each change.
//! Readers take the current snapshot and never wait. How a snapshot is searched is decided by the kind of index.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{
    IndexError, MAX_ROWS, check_range, check_vector,
    delta::Delta,
    scan::Best,
    vectors::{Query, RowTable, Vectors},
};
use crate::Bitmap;

/// The large block: vectors, where each row's is, and what `G` adds to find neighbours fast (a graph, or nothing).
pub(crate) struct Base<G> {
    pub(crate) vectors: Vectors,
    pub(crate) table: RowTable,
    pub(crate) graph: G,
}

/// One state of an index; immutable.
pub(crate) struct Snapshot<G> {
    pub(crate) base: Arc<Base<G>>,
    /// Nodes of the base not to be returned: deleted, superseded by the delta, or without a row from the start.
    pub(crate) dead: Arc<Bitmap>,
    pub(crate) delta: Delta,
    /// Rows in the delta.
    pub(crate) changed: usize,
}

impl<G> Snapshot<G> {
    pub(crate) fn new(base: Arc<Base<G>>) -> Self {
        let rows = &base.vectors.rows;
        let without_row = (0..rows.len() as u32).filter(|&node| base.vectors.row(node) == super::NO_ROW);
        let dead = Arc::new(Bitmap::from_rows(rows.len(), without_row));
        Self { base, dead, delta: Delta::default(), changed: 0 }
    }

    /// Rows with a vector.
    pub(crate) fn len(&self) -> usize {
        self.base.vectors.len() - self.dead.count() + self.changed
    }

    pub(crate) fn vector(&self, row: u32) -> Option<&[f32]> {
        match self.live_node(row) {
            Some(node) => Some(self.base.vectors.vector(node)),
            None => self.delta.vector(row),
        }
    }

    /// Whether the base alone is this state.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.dead.is_empty() && self.changed == 0
    }

    /// This state's vectors, row-major, and the row of each.
    pub(crate) fn collect(&self) -> (Vec<f32>, Vec<u32>) {
        let (mut floats, mut rows) =
            (Vec::with_capacity(self.len() * self.base.vectors.dim), Vec::with_capacity(self.len()));
        for (row, vector) in self.rows() {
            rows.push(row);
            floats.extend_from_slice(vector);
        }
        (floats, rows)
    }

    /// All rows and their vectors.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u32, &[f32])> {
        let base = &self.base.vectors;
        let alive = (0..base.len() as u32).filter(|&node| !self.dead.contains(node));
        alive.map(|node| (base.row(node), base.vector(node))).chain(self.delta.iter())
    }

    /// The node of the base that answers for `row`, if one does.
    pub(crate) fn live_node(&self, row: u32) -> Option<u32> {
        self.base.table.node(row).filter(|&node| !self.dead.contains(node))
    }

    /// Offers `best` every row of the base that passes.
    pub(crate) fn scan_base(&self, query: &Query<'_>, filter: Option<&Bitmap>, best: &mut Best) {
        let vectors = &self.base.vectors;
        match filter {
            None => best.scan_passing(vectors, query, |node| !self.dead.contains(node)),
            Some(filter) if reads_in_order(vectors.len(), filter.count()) => {
                best.scan_passing(vectors, query, |node| {
                    filter.contains(vectors.row(node)) & !self.dead.contains(node)
                });
            }
            Some(filter) => best.scan_picked(vectors, query, filter.iter().filter_map(|row| self.live_node(row))),
        }
    }
}

/// Whether a scan tests every node in memory order rather than looking up each passing row: where more than half pass, as measured.
pub(crate) fn reads_in_order(nodes: usize, passing: usize) -> bool {
    passing > nodes / 2
}

/// The current snapshot and the one writer.
pub(crate) struct Live<G> {
    dim: usize,
    current: ArcSwap<Snapshot<G>>,
    writer: Mutex<Writer>,
}

/// Where the delta holds what.
#[derive(Default)]
struct Writer {
    slots: HashMap<u32, u32>,
    free: Vec<u32>,
    /// Rows changed since a rebuild began, while one runs.
    since_rebuild: Option<HashSet<u32>>,
}

impl<G> Live<G> {
    pub(crate) fn new(base: Base<G>) -> Self {
        let dim = base.vectors.dim;
        Self { dim, current: ArcSwap::from_pointee(Snapshot::new(Arc::new(base))), writer: Mutex::default() }
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot<G>> {
        self.current.load_full()
    }

    pub(crate) fn upsert(&self, row: u32, vector: &[f32]) -> Result<(), IndexError> {
        check_range("row", row as usize, 0, MAX_ROWS as usize - 1)?;
        check_vector(vector, self.dim, "the vector")?;
        let mut writer = self.writer.lock();
        let next = self.snapshot().with(&mut writer, row, vector)?;
        self.publish(&mut writer, row, next);
        Ok(())
    }

    pub(crate) fn delete(&self, row: u32) -> Result<bool, IndexError> {
        let mut writer = self.writer.lock();
        let Some(next) = self.snapshot().without(&mut writer, row)? else { return Ok(false) };
        self.publish(&mut writer, row, next);
        Ok(true)
    }

    fn publish(&self, writer: &mut Writer, row: u32, next: Snapshot<G>) {
        if let Some(changed) = &mut writer.since_rebuild {
            changed.insert(row);
        }
        self.current.store(Arc::new(next));
    }

    /// Replaces the base by what `rebuild` makes of the current rows, with no delta left but the changes made meanwhile. Searches and changes
    /// go on during it. Returns whether it ran: one rebuild runs at a time.
    pub(crate) fn rebuild(
        &self,
        rebuild: impl FnOnce(&Snapshot<G>) -> Result<Base<G>, IndexError>,
    ) -> Result<bool, IndexError> {
        let before = {
            let mut writer = self.writer.lock();
            if writer.since_rebuild.is_some() {
                return Ok(false);
            }
            writer.since_rebuild = Some(HashSet::new());
            self.snapshot()
        };
        let built = rebuild(&before);
        let mut writer = self.writer.lock();
        let changed = writer.since_rebuild.take().unwrap_or_default();
        let latest = self.snapshot();
        let mut fresh = Writer::default();
        let mut next = Snapshot::new(Arc::new(built?));
        for row in changed {
            match latest.vector(row) {
                Some(vector) => next = next.with(&mut fresh, row, vector)?,
                None => next = next.without(&mut fresh, row)?.unwrap_or(next),
            }
        }
        *writer = fresh;
        self.current.store(Arc::new(next));
        Ok(true)
    }
}

impl<G> Snapshot<G> {
    /// This state with the vector of `row` set.
    fn with(&self, writer: &mut Writer, row: u32, vector: &[f32]) -> io::Result<Self> {
        let held = writer.slots.get(&row).copied();
        let slot = held.or_else(|| writer.free.last().copied()).unwrap_or(writer.slots.len() as u32);
        let mut delta = self.delta.clone();
        delta.set(slot, self.base.vectors.dim, Some((row, vector)))?;
        if held.is_none() {
            writer.free.pop();
            writer.slots.insert(row, slot);
        }
        Ok(Self { base: Arc::clone(&self.base), dead: self.dead_and(row), delta, changed: writer.slots.len() })
    }

    /// This state without the vector of `row`; `None` where it has none.
    fn without(&self, writer: &mut Writer, row: u32) -> io::Result<Option<Self>> {
        let mut delta = self.delta.clone();
        if let Some(&slot) = writer.slots.get(&row) {
            delta.set(slot, self.base.vectors.dim, None)?;
            writer.slots.remove(&row);
            writer.free.push(slot);
        } else if self.live_node(row).is_none() {
            return Ok(None);
        }
        Ok(Some(Self { base: Arc::clone(&self.base), dead: self.dead_and(row), delta, changed: writer.slots.len() }))
    }

    fn dead_and(&self, row: u32) -> Arc<Bitmap> {
        let Some(node) = self.live_node(row) else { return Arc::clone(&self.dead) };
        let mut dead = Bitmap::clone(&self.dead);
        dead.insert(node);
        Arc::new(dead)
    }
}
