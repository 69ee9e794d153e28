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
use rayon::prelude::*;
use tastemaker_types::Window;

use super::keys::{Key, Keys};
use super::open::Table;
use super::seek::Seekers;
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
    pub(crate) keys: Keys,
    pub(crate) times: ScalarBuffer<i64>,
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
    At { event: i64, created: i64, part: u32, row: u32 },
}

/// The row of a table that answers.
pub(crate) struct FoundRow<'a> {
    /// Microseconds since 1970, UTC.
    pub(crate) event: i64,
    /// Microseconds since 1970, UTC.
    pub(crate) created: i64,
    /// In the order of [`Table::feature_fields`].
    pub(crate) columns: &'a [ArrayRef],
    /// The place in these columns.
    pub(crate) row: usize,
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
    join_where(rows, table, options, |_, _| true)
}

/// As [`join`], of the rows of the table that `says` of, given their key and the microseconds at which they were created.
pub(crate) fn join_where(
    rows: &JoinRows,
    table: &Table,
    options: &JoinOptions,
    says: impl Fn(Key<'_>, i64) -> bool + Sync,
) -> Result<Joined, TableError> {
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
        seekers.offer(batch, options.include_late, &says);
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
            *found = Found::At { event, created: version.created, part: 0, row: 0 };
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

    /// Where the row is that answers a row, unless it is too old: two that ask and are answered by one row get the same.
    pub(crate) fn place(&self, row: usize) -> Option<(u32, u32)> {
        match self.found.get(row)? {
            Found::At { part, row, .. } => Some((*part, *row)),
            Found::Nothing | Found::TooOld { .. } => None,
        }
    }

    /// The row that answers a row, unless it is too old.
    pub(crate) fn found(&self, row: usize) -> Option<FoundRow<'_>> {
        match self.found.get(row)? {
            Found::At { event, created, part, row } => {
                let columns = self.parts.get(*part as usize)?;
                Some(FoundRow { event: *event, created: *created, columns, row: *row as usize })
            }
            Found::Nothing | Found::TooOld { .. } => None,
        }
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
