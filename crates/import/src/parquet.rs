//! Rows of Parquet files, in batches. Every column is cast to one of a few Arrow types first.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tastemaker_types::Timestamp;

use crate::ImportError;
use crate::columns::Columns;
use crate::row::{Cell, Row, Rows, Step};

const BATCH_ROWS: usize = 8_192;

pub(crate) struct ParquetRows {
    path: PathBuf,
    size: u64,
    reader: ParquetRecordBatchReader,
    names: Vec<String>,
    /// The places in `names` of the columns that are read.
    kept: Vec<usize>,
    batch: Vec<ArrayRef>,
    batch_rows: usize,
    /// The next row of the batch.
    next: usize,
    /// Rows before the batch.
    before: u64,
    total: u64,
}

impl ParquetRows {
    /// Opens a file; only the columns that `columns` uses are read.
    pub(crate) fn open(path: &Path, columns: &mut Columns) -> Result<Self, ImportError> {
        let bad =
            |error: &dyn std::fmt::Display| ImportError::Parquet { path: path.to_owned(), reason: error.to_string() };
        let file = std::fs::File::open(path).map_err(|source| ImportError::Open { path: path.to_owned(), source })?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| bad(&e))?;
        let all: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        columns.learn(&all);
        columns.require(path)?;
        let used = columns.used();
        let kept: Vec<usize> = (0..all.len()).filter(|index| used.get(*index) == Some(&true)).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), kept.iter().copied());
        let total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|e| bad(&e))?;
        let path = path.to_owned();
        Ok(Self { path, size, reader, names: all, kept, batch: Vec::new(), batch_rows: 0, next: 0, before: 0, total })
    }

    fn read_batch(&mut self) -> Result<bool, ImportError> {
        self.before += self.batch_rows as u64;
        (self.next, self.batch_rows) = (0, 0);
        let broken = |reason: String| ImportError::Parquet { path: self.path.clone(), reason };
        let Some(batch) = self.reader.next() else { return Ok(false) };
        let batch = batch.map_err(|error| broken(format!("it breaks off after row {}: {error}", self.before)))?;
        self.batch_rows = batch.num_rows();
        let schema: SchemaRef = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields());
        self.batch = columns
            .map(|(array, field)| {
                arrow_cast::cast(array, &simple(field.data_type()))
                    .map_err(|error| broken(format!("column '{}' cannot be read: {error}", field.name())))
            })
            .collect::<Result<_, _>>()?;
        Ok(true)
    }
}

/// The type that a column is read as.
fn simple(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Boolean | DataType::Null => data_type.clone(),
        kind if kind.is_integer() && *kind != DataType::UInt64 => DataType::Int64,
        kind if kind.is_floating() || matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            DataType::Float64
        }
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Dictionary(_, values) => simple(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(std::sync::Arc::new(item.as_ref().clone().with_data_type(DataType::Utf8)))
        }
        _ => DataType::Utf8,
    }
}

fn cell(array: &ArrayRef, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Empty;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => match array.as_primitive::<Float64Type>().value(row) {
            // What pandas writes where there is no number.
            number if number.is_nan() => Cell::Empty,
            number => Cell::Number(number),
        },
        DataType::Utf8 => Cell::text(array.as_string::<i32>().value(row)),
        DataType::Timestamp(..) => {
            Cell::Time(Timestamp::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let texts = items.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            Cell::List(texts)
        }
        _ => Cell::Empty,
    }
}

impl Rows for ParquetRows {
    fn next(&mut self) -> Result<Step<'_>, ImportError> {
        while self.next >= self.batch_rows {
            if !self.read_batch()? {
                return Ok(Step::End);
            }
        }
        let row = self.next;
        self.next += 1;
        let mut cells = vec![Cell::Empty; self.names.len()];
        for (place, array) in self.kept.iter().zip(&self.batch) {
            if let Some(target) = cells.get_mut(*place) {
                *target = cell(array, row);
            }
        }
        let bytes = cells.iter().map(size_of_cell).sum();
        Ok(Step::Row(Row { line: self.before + row as u64 + 1, bytes, columns: &self.names, cells }))
    }

    /// In proportion to the rows: a Parquet file is not read from its start to its end.
    fn bytes_read(&self) -> u64 {
        let done = self.before + self.next as u64;
        if self.total == 0 { self.size } else { (self.size as f64 * (done as f64 / self.total as f64)) as u64 }
    }
}

fn size_of_cell(cell: &Cell<'_>) -> usize {
    match cell {
        Cell::Text(text) => text.len(),
        Cell::List(items) => items.iter().map(String::len).sum(),
        _ => 8,
    }
}
