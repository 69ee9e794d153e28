//! Reading rows of a table: all of them in order, the chosen ones in order, or the keys and times of all on every core.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_buffer::NullBuffer;
use arrow_schema::ArrowError;
use rayon::prelude::*;

use super::TableError;
use super::keys::Keys;
use super::open::{Table, Unit};
use super::unit::UnitReader;
use super::version::Version;

/// Rows that are passed over, because nothing can be said of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// A key, or part of it, is null.
    pub null_keys: u64,
    /// The event time is null, or before or after anything that microseconds can count.
    pub null_times: u64,
}

impl Refused {
    fn plus(self, other: Self) -> Self {
        Self { null_keys: self.null_keys + other.null_keys, null_times: self.null_times + other.null_times }
    }
}

/// The rows of a table with keys and event times, in order, in batches of at most 8,192 rows in the normalised [`Table::schema`].
pub struct TableBatches<'a> {
    table: &'a Table,
    columns: Vec<usize>,
    chosen: Option<Vec<u64>>,
    next_unit: usize,
    reader: Option<UnitReader<'a>>,
    refused: Refused,
}

impl Table {
    /// Every row that is not refused, with all columns.
    pub fn batches(&self) -> TableBatches<'_> {
        self.batches_of(None, Refused::default())
    }

    /// The rows with these numbers, which ascend; `refused` were passed over when they were chosen.
    pub(super) fn batches_of(&self, chosen: Option<Vec<u64>>, refused: Refused) -> TableBatches<'_> {
        let columns = (0..self.roles.len()).collect();
        TableBatches { table: self, columns, chosen, next_unit: 0, reader: None, refused }
    }

    /// Calls `visit` with the keys and times of every row, batch by batch in no order, on all cores.
    pub(super) fn scan<F>(&self, visit: F) -> Result<Refused, TableError>
    where
        F: Fn(&KeyBatch) -> Result<(), TableError> + Sync,
    {
        let columns: Vec<usize> = (0..self.first_feature()).collect();
        let read = |unit: &Unit| {
            let mut refused = Refused::default();
            let mut reader = UnitReader::open(self, unit, &columns, None)?;
            let mut first_row = unit.first_row;
            while let Some((rows, arrays)) = reader.next_batch()? {
                let batch = KeyBatch::new(self, arrays, first_row)?;
                first_row += rows as u64;
                refused = refused.plus(batch.refused);
                visit(&batch)?;
            }
            Ok(refused)
        };
        self.units.par_iter().map(read).try_reduce(Refused::default, |a, b| Ok(a.plus(b)))
    }

    /// The features of the rows with these numbers, which ascend: batches one after the other, a column for each feature.
    pub(super) fn features_of(&self, chosen: &[u64]) -> Result<Vec<(usize, Vec<ArrayRef>)>, TableError> {
        let columns: Vec<usize> = (self.first_feature()..self.roles.len()).collect();
        let read = |unit: &Unit| {
            let mut batches = Vec::new();
            let chosen = unit.part_of(chosen);
            if !chosen.is_empty() {
                let mut reader = UnitReader::open(self, unit, &columns, Some(chosen))?;
                while let Some(batch) = reader.next_batch()? {
                    batches.push(batch);
                }
            }
            Ok(batches)
        };
        let units: Vec<Vec<_>> = self.units.par_iter().map(read).collect::<Result<_, TableError>>()?;
        Ok(units.into_iter().flatten().collect())
    }
}

impl TableBatches<'_> {
    /// Where the rows come from.
    pub(crate) fn table(&self) -> &Table {
        self.table
    }

    /// How many rows are read in all, with those that are passed over on the way.
    pub(crate) fn rows(&self) -> u64 {
        self.chosen.as_ref().map_or(self.table.rows(), |rows| rows.len() as u64)
    }

    /// Rows that were passed over so far.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>, TableError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(unit) = self.table.units.get(self.next_unit) else { return Ok(None) };
                self.next_unit += 1;
                let chosen = self.chosen.as_deref().map(|rows| unit.part_of(rows));
                if chosen.is_none_or(|rows| !rows.is_empty()) {
                    self.reader = Some(UnitReader::open(self.table, unit, &self.columns, chosen)?);
                }
                continue;
            };
            let path = &reader.file.path;
            match reader.next_batch()? {
                None => self.reader = None,
                Some((_, arrays)) => {
                    let (valid, refused) = valid(&arrays, self.table.keys);
                    self.refused = self.refused.plus(refused);
                    let batch = filtered(self.table, arrays, valid).map_err(|e| TableError::unreadable(path, e))?;
                    if batch.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
            }
        }
    }
}

impl Iterator for TableBatches<'_> {
    type Item = Result<RecordBatch, TableError>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.reader = None;
            self.next_unit = usize::MAX;
        }
        next.transpose()
    }
}

/// Leaves out the refused rows.
fn filtered(table: &Table, arrays: Vec<ArrayRef>, valid: Option<NullBuffer>) -> Result<RecordBatch, ArrowError> {
    let arrays = match valid {
        None => arrays,
        Some(valid) => {
            let mask = BooleanArray::new(valid.into_inner(), None);
            arrays.iter().map(|array| arrow_select::filter::filter(array, &mask)).collect::<Result<_, _>>()?
        }
    };
    RecordBatch::try_new(table.schema.clone(), arrays)
}

/// Which rows have keys (the first `keys` columns) and an event time (the next); `None` if all have.
fn valid(arrays: &[ArrayRef], keys: usize) -> (Option<NullBuffer>, Refused) {
    let nulls_of =
        |arrays: &[ArrayRef]| arrays.iter().fold(None, |nulls, array| NullBuffer::union(nulls.as_ref(), array.nulls()));
    let with_key = nulls_of(arrays.get(..keys).unwrap_or_default());
    let with_both = nulls_of(arrays.get(..=keys).unwrap_or_default());
    let count = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
    let null_keys = count(&with_key);
    let refused = Refused { null_keys, null_times: count(&with_both) - null_keys };
    (with_both.filter(|nulls| nulls.null_count() > 0), refused)
}

/// The keys and times of consecutive rows.
pub(super) struct KeyBatch {
    pub keys: Keys,
    events: TimestampMicrosecondArray,
    created: Option<TimestampMicrosecondArray>,
    valid: Option<NullBuffer>,
    refused: Refused,
    first_row: u64,
}

impl KeyBatch {
    fn new(table: &Table, arrays: Vec<ArrayRef>, first_row: u64) -> Result<Self, TableError> {
        let (valid, refused) = valid(&arrays, table.keys);
        let times = |index: usize| arrays.get(index).map(|a| a.as_primitive::<TimestampMicrosecondType>().clone());
        let keys = arrays.iter().take(table.keys).map(|array| array.as_string::<i32>().clone()).collect();
        let broken = || ArrowError::SchemaError("a batch lacks its key columns".to_owned());
        Ok(Self {
            keys: Keys::new(keys).ok_or_else(broken)?,
            events: times(table.keys).ok_or_else(broken)?,
            created: if table.has_created { times(table.keys + 1) } else { None },
            valid,
            refused,
            first_row,
        })
    }

    /// The rows that are not refused: the place in the batch, and the version.
    pub(super) fn versions(&self) -> impl Iterator<Item = (usize, Version)> {
        let valid = |row: &usize| self.valid.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        (0..self.keys.len()).filter(valid).map(|row| {
            let event = self.events.value(row);
            let created =
                self.created.as_ref().filter(|times| times.is_valid(row)).map_or(event, |times| times.value(row));
            (row, Version { event, created, row: self.first_row + row as u64 })
        })
    }
}
