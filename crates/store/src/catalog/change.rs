//! What can happen to items, and how it is applied: changes are resolved to rows and merged per row, then each chunk that
//! they touch is written once.

use std::collections::HashMap;
use std::sync::Arc;

use tastemaker_types::{AttributeError, EntityUpsert, Record, Timestamp, UpsertMode};

use super::cell::Cell;
use super::chunk::{CHUNK_ROWS, CHUNK_WORDS, Chunk, place};
use super::column;
use super::snapshot::Shared;

/// Something that happens to an item.
#[derive(Debug, Clone, Copy)]
pub enum ItemChange<'a> {
    /// It exists, with these attributes.
    Upsert(&'a EntityUpsert),
    /// It is gone, with its attributes; nothing happens if it never was.
    Delete {
        /// The item.
        id: &'a str,
        /// When.
        timestamp: Timestamp,
    },
    /// Somebody did something with it, or knows something of it: a new item comes to exist without attributes, a known one stays as it is, dead if
    /// it was deleted.
    Seen {
        /// The item.
        id: &'a str,
        /// When.
        timestamp: Timestamp,
    },
}

impl<'a> ItemChange<'a> {
    /// What a record of the event log says about an item, if anything.
    pub fn of(record: &'a Record) -> Option<Self> {
        match record {
            Record::Event(event) => Some(Self::Seen { id: &event.item_id, timestamp: event.timestamp }),
            Record::ItemUpsert(upsert) => Some(Self::Upsert(upsert)),
            Record::ItemDelete { id, timestamp } => Some(Self::Delete { id, timestamp: *timestamp }),
            Record::FeatureRow(row) => {
                row.item_id.as_deref().map(|id| Self::Seen { id, timestamp: row.event_timestamp })
            }
            Record::UserUpsert(_) | Record::UserDelete { .. } | Record::Served(_) => None,
        }
    }
}

/// What came of a batch of changes.
#[derive(Debug)]
pub struct Applied {
    /// The row of each change's item, in the order of the changes; none for the deletion of an unknown item.
    pub rows: Vec<Option<u32>>,
    /// Attribute values that do not fit the declared attributes (a log may be older than the declaration); they count as
    /// absent.
    pub misfits: usize,
    /// Why the first of them does not fit.
    pub first_misfit: Option<AttributeError>,
}

/// What changes of one row.
struct RowPatch<'a> {
    row: u32,
    alive: Option<bool>,
    first_seen: Option<i64>,
    /// By column; `None` stays as it is.
    cells: Box<[Option<Cell<'a>>]>,
}

impl RowPatch<'_> {
    fn seen(&mut self, micros: i64) {
        self.first_seen = Some(self.first_seen.map_or(micros, |known| known.min(micros)));
    }

    fn clear(&mut self) {
        self.cells.fill(Some(Cell::Null));
    }
}

/// Changes of known rows, at most one patch a row, and the ids of rows that are new.
pub(super) struct Changes<'a> {
    patches: Vec<RowPatch<'a>>,
    new_ids: Vec<Arc<str>>,
}

impl<'a> Changes<'a> {
    /// Finds or assigns the row of every change and merges what happens to each.
    pub(super) fn resolve(
        changes: &[ItemChange<'a>],
        shared: &Shared,
        chunks: &[Arc<Chunk>],
        applied: &mut Applied,
    ) -> Self {
        let rows = shared.rows.pin();
        let known_rows = row_count(chunks);
        let width = shared.attributes.fields().len();
        let mut resolved = Self { patches: Vec::new(), new_ids: Vec::new() };
        let mut patch_of: HashMap<u32, usize> = HashMap::new();
        for change in changes {
            let (id, timestamp) = match change {
                ItemChange::Upsert(upsert) => (upsert.id.as_str(), upsert.timestamp),
                ItemChange::Delete { id, timestamp } | ItemChange::Seen { id, timestamp } => (*id, *timestamp),
            };
            let found = rows.get(id).copied();
            let row = match (found, change) {
                (Some(row), _) => row,
                (None, ItemChange::Delete { .. }) => {
                    applied.rows.push(None);
                    continue;
                }
                (None, _) => {
                    let Ok(row) = u32::try_from(known_rows + resolved.new_ids.len()) else {
                        applied.rows.push(None);
                        continue;
                    };
                    let id: Arc<str> = id.into();
                    rows.insert(Arc::clone(&id), row);
                    resolved.new_ids.push(id);
                    row
                }
            };
            applied.rows.push(Some(row));
            let micros = timestamp.as_micros();
            let old = chunks.get(place(row).0).filter(|_| (row as usize) < known_rows);
            let old_seen = old.and_then(|chunk| chunk.first_seen.get(place(row).1).copied());
            if matches!(change, ItemChange::Seen { .. }) && old_seen.is_some_and(|known| known <= micros) {
                continue;
            }
            let index = *patch_of.entry(row).or_insert_with(|| {
                let new = old.is_none();
                resolved.patches.push(RowPatch {
                    row,
                    alive: new.then_some(true),
                    first_seen: old_seen,
                    cells: vec![new.then_some(Cell::Null); width].into(),
                });
                resolved.patches.len() - 1
            });
            let Some(patch) = resolved.patches.get_mut(index) else { continue };
            match change {
                ItemChange::Seen { .. } => patch.seen(micros),
                ItemChange::Delete { .. } => {
                    patch.alive = Some(false);
                    patch.clear();
                }
                ItemChange::Upsert(upsert) => {
                    patch.seen(micros);
                    patch.alive = Some(true);
                    if upsert.mode == UpsertMode::Replace {
                        patch.clear();
                    }
                    set_cells(patch, upsert, shared, applied);
                }
            }
        }
        resolved.patches.sort_unstable_by_key(|patch| patch.row);
        resolved
    }

    /// Replaces every chunk that changes; whether any does.
    pub(super) fn write(self, shared: &Shared, chunks: &mut Vec<Arc<Chunk>>, next_version: &mut u64) -> bool {
        let mut new_ids = self.new_ids.as_slice();
        let mut changed = false;
        for patches in self.patches.chunk_by(|a, b| place(a.row).0 == place(b.row).0) {
            let Some(first) = patches.first() else { continue };
            let index = place(first.row).0;
            let old = chunks.get(index);
            // New rows come in order and all have patches, so each chunk takes its own from the front.
            let room = if index + 1 >= chunks.len() { CHUNK_ROWS - old.map_or(0, |chunk| chunk.rows()) } else { 0 };
            let (ids, later) = new_ids.split_at(room.min(new_ids.len()));
            new_ids = later;
            if let Some(chunk) = write_chunk(shared, old.map(Arc::as_ref), ids, patches, *next_version) {
                *next_version += 1;
                changed = true;
                match chunks.get_mut(index) {
                    Some(slot) => *slot = Arc::new(chunk),
                    None => chunks.push(Arc::new(chunk)),
                }
            }
        }
        changed
    }
}

pub(super) fn row_count(chunks: &[Arc<Chunk>]) -> usize {
    chunks.last().map_or(0, |last| (chunks.len() - 1) * CHUNK_ROWS + last.rows())
}

fn set_cells<'a>(patch: &mut RowPatch<'a>, upsert: &'a EntityUpsert, shared: &Shared, applied: &mut Applied) {
    for (name, value) in &upsert.attributes {
        let cell = match shared.column(name) {
            Some((index, declared)) => Cell::new(&shared.attributes, name, declared, value).map(|cell| (index, cell)),
            // The schema names what is wrong with a name that it does not know.
            None => match shared.attributes.coerce(name, value.clone()) {
                Err(error) => Err(error),
                Ok(_) => continue,
            },
        };
        match cell {
            Ok((index, cell)) => {
                if let Some(slot) = patch.cells.get_mut(index) {
                    *slot = Some(cell);
                }
            }
            Err(error) => {
                applied.misfits += 1;
                applied.first_misfit.get_or_insert(error);
            }
        }
    }
}

/// The chunk after `patches`, which are in the order of rows; `None` if it stays as it is.
fn write_chunk(
    shared: &Shared,
    old: Option<&Chunk>,
    new_ids: &[Arc<str>],
    patches: &[RowPatch<'_>],
    version: u64,
) -> Option<Chunk> {
    let old_rows = old.map_or(0, Chunk::rows);
    let rows = old_rows + new_ids.len();
    let mut changed = !new_ids.is_empty();

    let mut alive = old.map_or([0; CHUNK_WORDS], |chunk| chunk.alive);
    for patch in patches {
        let offset = place(patch.row).1;
        if let (Some(is_alive), Some(word)) = (patch.alive, alive.get_mut(offset / 64)) {
            let bit = 1 << (offset % 64);
            let next = if is_alive { *word | bit } else { *word & !bit };
            changed |= next != *word;
            *word = next;
        }
    }

    let mut first_seen = old.map_or_else(Arc::default, |chunk| Arc::clone(&chunk.first_seen));
    for patch in patches {
        let offset = place(patch.row).1;
        if let Some(micros) = patch.first_seen
            && first_seen.get(offset) != Some(&micros)
        {
            let times = Arc::make_mut(&mut first_seen);
            times.resize(rows, i64::MAX);
            if let Some(time) = times.get_mut(offset) {
                *time = micros;
            }
            changed = true;
        }
    }

    let mut columns = Vec::with_capacity(shared.attributes.fields().len());
    for (index, (_, declared)) in shared.attributes.fields().iter().enumerate() {
        let before = old.and_then(|chunk| chunk.columns.get(index));
        let cells: Vec<(usize, &Cell<'_>)> = patches
            .iter()
            .filter_map(|patch| Some((place(patch.row).1, patch.cells.get(index)?.as_ref()?)))
            .filter(|(offset, cell)| !before.is_some_and(|column| column::holds(column, *offset, cell)))
            .collect();
        match before {
            Some(column) if cells.is_empty() && rows == old_rows => columns.push(Arc::clone(column)),
            _ => {
                changed = true;
                columns.push(column::write(*declared, before, rows, &cells));
            }
        }
    }

    let ids = match (old, new_ids.is_empty()) {
        (Some(chunk), true) => Arc::clone(&chunk.ids),
        _ => Arc::new(old.iter().flat_map(|chunk| chunk.ids.iter()).chain(new_ids).cloned().collect()),
    };
    changed.then(|| Chunk { version, ids, first_seen, alive, columns: columns.into() })
}
