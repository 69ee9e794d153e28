//! Reading a stretch of one row group, and what is to be read of it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::ArrowError;
use fs_err as fs;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};

use super::TableError;
use super::column::Role;
use super::open::{Place, Table, TableFile, Unit, stamp};

/// The most rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// Reads some columns of one unit.
pub(super) struct UnitReader<'a> {
    pub file: &'a TableFile,
    reader: ParquetRecordBatchReader,
    /// For each wanted column its role, and where it comes from: a column of the reader's batches, or a folder's name.
    columns: Vec<(Role, From<'a>)>,
    /// Rows that are still to come.
    left: usize,
}

enum From<'a> {
    Batch(usize),
    Folder(&'a ArrayRef),
}

impl<'a> UnitReader<'a> {
    /// `columns` are places in the table's schema; `chosen` are rows of the unit, all if `None`.
    pub(super) fn open(
        table: &'a Table,
        unit: &Unit,
        columns: &[usize],
        chosen: Option<&[u64]>,
    ) -> Result<Self, TableError> {
        let Some(file) = table.files.get(unit.file) else {
            return Err(ArrowError::SchemaError("a unit of no file".to_owned()).into());
        };
        let wanted = || columns.iter().filter_map(|c| Some((*table.roles.get(*c)?, file.places.get(*c)?)));
        let mut roots: Vec<usize> = wanted()
            .filter_map(|(_, place)| match place {
                Place::Root(root) => Some(*root),
                Place::Folder(_) => None,
            })
            .collect();
        roots.sort_unstable();
        roots.dedup();
        let columns = wanted()
            .map(|(role, place)| match place {
                // Batches come with their columns in the order of the file.
                Place::Root(root) => (role, From::Batch(roots.partition_point(|other| other < root))),
                Place::Folder(value) => (role, From::Folder(value)),
            })
            .collect();

        let input = fs::File::open(&file.path).map_err(TableError::open(&file.path))?;
        if stamp(&input).map_err(TableError::open(&file.path))? != file.stamp {
            return Err(TableError::Changed { path: file.path.clone() });
        }
        let (input, _) = input.into_parts();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, file.footer.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let group_rows = builder.metadata().row_groups().get(unit.row_group).map_or(0, |group| group.num_rows());
        let left = chosen.map_or(unit.rows, <[u64]>::len);
        let builder = builder
            .with_projection(mask)
            .with_row_groups(vec![unit.row_group])
            .with_row_selection(unit.selection(chosen, usize::try_from(group_rows).unwrap_or(0)))
            .with_batch_size(BATCH_ROWS);
        let reader = guarded(&file.path, || builder.build())?;
        Ok(Self { file, reader, columns, left })
    }

    /// The next rows, normalised, with their number.
    pub(super) fn next_batch(&mut self) -> Result<Option<(usize, Vec<ArrayRef>)>, TableError> {
        let batch = guarded(&self.file.path, || self.reader.next().transpose())?;
        let rows = batch.as_ref().map_or(0, |batch| batch.num_rows());
        // Whoever reads counts on every row being there: a row's number is its place.
        let miscounted = || TableError::unreadable(&self.file.path, "it has other rows than its footer says");
        self.left = self.left.checked_sub(rows).ok_or_else(miscounted)?;
        let Some(batch) = batch else { return if self.left == 0 { Ok(None) } else { Err(miscounted()) } };
        let arrays = self
            .columns
            .iter()
            .map(|(role, from)| match from {
                From::Folder(value) => arrow_select::take::take(value, &UInt32Array::from(vec![0; rows]), None),
                From::Batch(index) => match batch.columns().get(*index) {
                    Some(array) => role.normalise(array),
                    None => Err(ArrowError::SchemaError("a column is missing from a batch".to_owned())),
                },
            })
            .collect::<Result<_, _>>()
            .map_err(|e| TableError::unreadable(&self.file.path, e))?;
        Ok(Some((rows, arrays)))
    }
}

impl Unit {
    /// Those of `rows`, which ascend, that are in this unit.
    pub(super) fn part_of<'a>(&self, rows: &'a [u64]) -> &'a [u64] {
        let end = self.first_row + self.rows as u64;
        let from = rows.partition_point(|row| *row < self.first_row);
        let to = rows.partition_point(|row| *row < end);
        rows.get(from..to).unwrap_or_default()
    }

    /// Which rows of the row group to read.
    fn selection(&self, chosen: Option<&[u64]>, group_rows: usize) -> RowSelection {
        let one = |row: &u64| -> Range<usize> {
            let at = self.offset + (row - self.first_row) as usize;
            at..at + 1
        };
        match chosen {
            None => {
                let all = self.offset..self.offset + self.rows;
                RowSelection::from_consecutive_ranges(std::iter::once(all), group_rows)
            }
            Some(rows) => RowSelection::from_consecutive_ranges(rows.iter().map(one), group_rows),
        }
    }
}

/// What `read` gives. The Parquet decoder panics on some damaged files: here that is an error that names the file, like others.
pub(super) fn guarded<T, E: ToString>(path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T, TableError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|e| TableError::unreadable(path, e)),
        Err(_) => Err(TableError::unreadable(path, "it is damaged; get or write it again")),
    }
}
