//! The point-in-time join: for each row of entities and a time, the features as they were known then.
//!
//! The table is never held, only the rows that ask. They are sorted by entity and time, and every row of the table, whatever its place,
//! is offered to the first asking row at whose time it was known; what that one knows, those after it know too, so one running maximum
//! over each entity's rows gives every answer. Only then are the features of the rows that won read. Memory is about 100 bytes for each
//! asking row, its key, and the features that are found.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, FieldRef};
use hashbrown::HashTable;
use parking_lot::Mutex;
use rayon::prelude::*;
use tastemaker_types::Window;

use super::keys::{Key, Keys};
use super::open::Table;
use super::read::KeyBatch;
use super::version::Version;
use super::{Refused, TableError};

/// The most rows of one join: they are numbered in 32 bits.
const MAX_ROWS: usize = u32::MAX as usize;

/// Which rows of the table may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JoinOptions {
    /// The greatest age of an answer. A row that is exactly this old still counts.
    pub ttl: Option<Window>,
    /// Let rows answer that were created after the time that is asked about. They were not known then, so that a model trained on them
    /// sees what it will not see when it serves.
    pub include_late: bool,
}

/// Entities, and the times at which their features are wanted.
#[derive(Debug, Clone)]
pub struct JoinRows {
    keys: Keys,
    times: ScalarBuffer<i64>,
}

/// Whether a feature of a row has a value, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureStatus {
    /// It has a value.
    Present,
    /// A row was found, and its value is null.
    NullValue,
    /// The entity has no row that was known at the time.
    NotFound,
    /// The latest row that was known at the time is older than the ttl.
    OutsideMaxAge,
}

impl FeatureStatus {
    /// As Feast's feature servers write it: `PRESENT`, `NULL_VALUE`, `NOT_FOUND`, `OUTSIDE_MAX_AGE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

/// What a join found. Values are gathered when they are asked for, some rows at a time: [`Joined::rows`].
#[derive(Debug)]
pub struct Joined {
    fields: Vec<FieldRef>,
    /// Batches of features, each with a column per feature.
    parts: Vec<Vec<ArrayRef>>,
    found: Vec<Found>,
    refused: Refused,
}

/// The features of consecutive rows.
#[derive(Debug, Clone)]
pub struct JoinedRows {
    /// In the order of [`Table::feature_fields`].
    pub features: Vec<FeatureValues>,
    /// The event time of the row that answered, also of one that is too old; null where none was found.
    pub event_times: TimestampMicrosecondArray,
}

/// One feature of consecutive rows.
#[derive(Debug, Clone)]
pub struct FeatureValues {
    /// A value for each row; null unless the status is [`FeatureStatus::Present`].
    pub values: ArrayRef,
    /// A status for each row.
    pub statuses: Vec<FeatureStatus>,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    Nothing,
    TooOld { event: i64 },
    At { event: i64, part: u32, row: u32 },
}

impl JoinRows {
    /// `keys` are in the order of the table's keys; a null key finds nothing. Times are microseconds, UTC.
    ///
    /// # Errors
    /// [`TableError::JoinRows`] if the columns differ in length or a time is null; [`TableError::TooManyRows`].
    pub fn new(keys: Vec<StringArray>, times: &TimestampMicrosecondArray) -> Result<Self, TableError> {
        let refuse = |reason: String| Err(TableError::JoinRows { reason });
        let lengths: Vec<usize> = keys.iter().map(Array::len).collect();
        if lengths.iter().any(|length| *length != times.len()) {
            return refuse(format!("{lengths:?} keys and {} times were given", times.len()));
        }
        if times.null_count() > 0 {
            return refuse(format!("{} times are null", times.null_count()));
        }
        if times.len() > MAX_ROWS {
            return Err(TableError::TooManyRows { rows: times.len(), max: MAX_ROWS });
        }
        let Some(keys) = Keys::new(keys) else { return Err(TableError::KeyColumns { found: lengths.len() }) };
        Ok(Self { keys, times: times.values().clone() })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

/// Looks the features of `table` up for each of `rows`, in their order, one answer each.
///
/// A row of the table can answer a row that asks at `t` if it has the same key, its event time is at or before `t`, and it was created at
/// or before `t` (or `include_late`; one whose created time is null counts as created at its event time). Of those the one with the latest
/// event time answers; among equals the one created last, then the last in the table. If it is older than `ttl`, the row gets no value
/// and [`FeatureStatus::OutsideMaxAge`]: no older row is looked for.
///
/// # Errors
/// [`TableError::KeyCount`], and anything that keeps the table from being read.
pub fn join(rows: &JoinRows, table: &Table, options: &JoinOptions) -> Result<Joined, TableError> {
    if rows.keys.columns() != table.keys {
        return Err(TableError::KeyCount {
            found: rows.keys.columns(),
            expected: table.keys,
            names: table.key_names(),
        });
    }
    let mut joined = Joined {
        fields: table.feature_fields().to_vec(),
        parts: Vec::new(),
        found: vec![Found::Nothing; rows.len()],
        refused: Refused::default(),
    };
    if rows.is_empty() {
        return Ok(joined);
    }
    let seekers = Seekers::new(rows);
    joined.refused = table.scan(|batch| {
        seekers.offer(batch, options.include_late);
        Ok(())
    })?;

    let mut winners: Vec<(u64, u32)> = Vec::new();
    for (row, version) in seekers.answers() {
        let (Some(found), Some(time)) = (joined.found.get_mut(row as usize), rows.times.get(row as usize)) else {
            continue;
        };
        let event = version.event;
        if options.ttl.is_some_and(|ttl| event < time.saturating_sub(ttl.as_micros())) {
            *found = Found::TooOld { event };
        } else {
            *found = Found::At { event, part: 0, row: 0 };
            winners.push((version.row, row));
        }
    }
    winners.par_sort_unstable();
    joined.collect(table, &winners)?;
    Ok(joined)
}

impl Joined {
    /// Reads the features of `winners` (row of the table, row that asks; in order), and notes where each is.
    fn collect(&mut self, table: &Table, winners: &[(u64, u32)]) -> Result<(), TableError> {
        let mut chosen: Vec<u64> = winners.iter().map(|(table_row, _)| *table_row).collect();
        chosen.dedup();
        let batches = table.features_of(&chosen)?;
        let mut places =
            batches.iter().zip(0_u32..).flat_map(|((rows, _), part)| (0_u32..).take(*rows).map(move |row| (part, row)));
        let mut current = None;
        for (table_row, asking) in winners {
            if current.is_none_or(|(of, _)| of != *table_row) {
                current = places.next().map(|place| (*table_row, place));
            }
            let Some((_, place)) = current else {
                return Err(ArrowError::ComputeError("fewer rows were read than were chosen".to_owned()).into());
            };
            if let Some(Found::At { part, row, .. }) = self.found.get_mut(*asking as usize) {
                (*part, *row) = place;
            }
        }
        self.parts = batches.into_iter().map(|(_, arrays)| arrays).collect();
        Ok(())
    }

    /// How many rows asked.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether none did.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Rows of the table that were passed over.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// The features of the rows in `range`, which is cut to the rows there are. Take some thousand rows at a time: the values are copied.
    ///
    /// # Errors
    /// [`TableError::Gather`] if one column's texts come to more than 2 GiB.
    pub fn rows(&self, range: Range<usize>) -> Result<JoinedRows, TableError> {
        let end = range.end.min(self.found.len());
        let found = self.found.get(range.start.min(end)..end).unwrap_or_default();
        let nothing = (self.parts.len(), 0);
        let picks: Vec<(usize, usize)> = found
            .iter()
            .map(|found| match found {
                Found::At { part, row, .. } => (*part as usize, *row as usize),
                Found::Nothing | Found::TooOld { .. } => nothing,
            })
            .collect();
        let feature = |(index, field): (usize, &FieldRef)| -> Result<FeatureValues, ArrowError> {
            let null = new_null_array(field.data_type(), 1);
            let columns = self.parts.iter().filter_map(|part| part.get(index)).chain([&null]);
            let columns: Vec<&dyn Array> = columns.map(AsRef::as_ref).collect();
            let values = arrow_select::interleave::interleave(&columns, &picks)?;
            let statuses = found.iter().enumerate().map(|(row, found)| match found {
                Found::Nothing => FeatureStatus::NotFound,
                Found::TooOld { .. } => FeatureStatus::OutsideMaxAge,
                Found::At { .. } if values.is_null(row) => FeatureStatus::NullValue,
                Found::At { .. } => FeatureStatus::Present,
            });
            Ok(FeatureValues { statuses: statuses.collect(), values })
        };
        let event_times = found.iter().map(|found| match found {
            Found::Nothing => None,
            Found::TooOld { event } | Found::At { event, .. } => Some(*event),
        });
        Ok(JoinedRows {
            features: self.fields.iter().enumerate().map(feature).collect::<Result<_, _>>()?,
            event_times: event_times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"),
        })
    }
}

/// The rows that ask, by the hash of their key.
struct Seekers<'a> {
    shards: Vec<Shard<'a>>,
}

/// Some entities, and the rows that ask about them.
struct Shard<'a> {
    keys: &'a Keys,
    entities: Vec<Entity>,
    by_key: HashTable<u32>,
    /// The asking rows by entity, then time.
    asked: Vec<Asked>,
    /// For each of `asked`, the best that was offered to it and to none before it.
    best: Mutex<Vec<Option<Version>>>,
}

struct Entity {
    hash: u64,
    /// Its part of `asked`.
    asked: Range<usize>,
    /// A row that has its key.
    row: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    entity: u32,
    time: i64,
    row: u32,
}

impl<'a> Seekers<'a> {
    fn new(rows: &'a JoinRows) -> Self {
        // Several shards for each core, so that two seldom want the same one.
        let shards = (rayon::current_num_threads() * 8).next_power_of_two().clamp(16, 512);
        let mut parts: Vec<Vec<(u64, u32)>> = vec![Vec::new(); shards];
        for (row, index) in (0..rows.len()).zip(0_u32..) {
            let Some(hash) = rows.keys.get(row).map(|key| key.hash()) else { continue };
            if let Some(part) = parts.get_mut(shard_of(hash, shards)) {
                part.push((hash, index));
            }
        }
        Self { shards: parts.into_par_iter().map(|part| Shard::new(rows, &part)).collect() }
    }

    /// Offers every row of `batch` to the first that could know it.
    fn offer(&self, batch: &KeyBatch, include_late: bool) {
        let mut offers: Vec<Vec<(usize, Version)>> = vec![Vec::new(); self.shards.len()];
        for (row, version) in batch.versions() {
            let Some(key) = batch.keys.get(row) else { continue };
            let hash = key.hash();
            let index = shard_of(hash, self.shards.len());
            let known = if include_late { version.event } else { version.known() };
            if let (Some(shard), Some(offers)) = (self.shards.get(index), offers.get_mut(index))
                && let Some(place) = shard.first_at(key, hash, known)
            {
                offers.push((place, version));
            }
        }
        for (shard, offers) in self.shards.iter().zip(offers) {
            if offers.is_empty() {
                continue;
            }
            let mut best = shard.best.lock();
            for (place, version) in offers {
                // The maximum does not depend on the order of offers, so neither does the join on that of threads.
                if let Some(best) = best.get_mut(place) {
                    *best = (*best).max(Some(version));
                }
            }
        }
    }

    /// The rows that found something, and what.
    fn answers(self) -> impl Iterator<Item = (u32, Version)> {
        let answers: Vec<Vec<_>> = self.shards.into_par_iter().map(Shard::answers).collect();
        answers.into_iter().flatten()
    }
}

/// Bits from the middle of the hash: the map within a shard uses those at its ends.
fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize & (shards - 1)
}

impl<'a> Shard<'a> {
    fn new(rows: &'a JoinRows, part: &[(u64, u32)]) -> Self {
        let keys = &rows.keys;
        let mut entities: Vec<Entity> = Vec::new();
        let mut by_key: HashTable<u32> = HashTable::new();
        let mut asked = Vec::with_capacity(part.len());
        for &(hash, row) in part {
            let key = keys.get(row as usize);
            let known = by_key
                .find(hash, |entity| entities.get(*entity as usize).is_some_and(|e| keys.get(e.row as usize) == key));
            let entity = match known {
                Some(entity) => *entity,
                None => {
                    // There are no more entities than rows, which are counted in 32 bits.
                    let entity = entities.len() as u32;
                    entities.push(Entity { hash, asked: 0..0, row });
                    by_key.insert_unique(hash, entity, |other| entities.get(*other as usize).map_or(0, |e| e.hash));
                    entity
                }
            };
            let time = rows.times.get(row as usize).copied().unwrap_or(i64::MIN);
            asked.push(Asked { entity, time, row });
        }
        asked.sort_unstable();
        let mut start = 0;
        for run in asked.chunk_by(|a, b| a.entity == b.entity) {
            let end = start + run.len();
            if let Some(entity) = run.first().and_then(|asked| entities.get_mut(asked.entity as usize)) {
                entity.asked = start..end;
            }
            start = end;
        }
        let best = Mutex::new(vec![None; asked.len()]);
        Self { keys, entities, by_key, asked, best }
    }

    /// The place in `asked` of the first row about `key` whose time is not before `known`.
    fn first_at(&self, key: Key<'_>, hash: u64, known: i64) -> Option<usize> {
        let same = |entity: &&Entity| self.keys.get(entity.row as usize) == Some(key);
        let found = self.by_key.find(hash, |entity| self.entities.get(*entity as usize).as_ref().is_some_and(same))?;
        let range = self.entities.get(*found as usize)?.asked.clone();
        let place = range.start + self.asked.get(range.clone())?.partition_point(|asked| asked.time < known);
        (place < range.end).then_some(place)
    }

    fn answers(self) -> Vec<(u32, Version)> {
        let mut answers = Vec::with_capacity(self.asked.len());
        let mut entity = None;
        let mut best = None;
        for (asked, offered) in self.asked.iter().zip(self.best.into_inner()) {
            if entity != Some(asked.entity) {
                (entity, best) = (Some(asked.entity), None);
            }
            best = best.max(offered);
            answers.extend(best.map(|best| (asked.row, best)));
        }
        answers
    }
}
