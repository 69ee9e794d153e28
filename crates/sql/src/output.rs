//! Answers as files and text: Parquet, JSON lines, and cells for a table on a terminal.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::{QueryError, Rows};

const ROW_GROUP_BYTES: usize = 64 << 20;

/// Why an answer was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is none.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Two columns have one name, which neither JSON nor most readers of Parquet can tell apart.
    #[error("two columns of the answer are named '{name}'; give one another name: … AS other_name")]
    SameName {
        /// Their name.
        name: String,
    },
    /// A file or stream cannot be written.
    #[error("could not write the answer: {0}")]
    Io(#[from] io::Error),
    /// A column has a type that Parquet does not know, or the writer failed.
    #[error("could not write Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// A value cannot be shown.
    #[error("could not show the answer: {0}")]
    Arrow(#[from] ArrowError),
}

/// What [`write_parquet`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes the answer to one Parquet file, in place of what was there; it is complete or not there. Folders are made.
///
/// # Errors
/// The query's own, two columns of one name, or a file that cannot be written.
pub fn write_parquet(rows: Rows, path: &Path) -> Result<Written, OutputError> {
    check_names(&rows.schema())?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = write_rows(rows, &partial).and_then(|written| {
        fs::rename(&partial, path)?;
        Ok(written)
    });
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_rows(rows: Rows, path: &Path) -> Result<Written, OutputError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("tastemaker ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    let mut writer = ArrowWriter::try_new(fs::File::create(path)?, rows.schema(), Some(properties))?;
    let mut count = 0;
    for batch in rows {
        let batch = batch?;
        count += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    let file = writer.into_inner()?;
    file.sync_all()?;
    Ok(Written { rows: count, bytes: file.metadata()?.len() })
}

/// Writes the answer as JSON lines: an object for each row, with every column; times are RFC 3339 text.
///
/// # Errors
/// The query's own, two columns of one name, or `out` cannot be written.
pub fn write_json(rows: Rows, out: &mut dyn Write) -> Result<(), OutputError> {
    check_names(&rows.schema())?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut *out);
    for batch in rows {
        writer.write(&batch?).map_err(as_io)?;
    }
    writer.finish().map_err(as_io)?;
    Ok(())
}

/// An I/O error stays one, so that a closed pipe is seen as such.
fn as_io(error: ArrowError) -> OutputError {
    match error {
        ArrowError::IoError(_, error) => error.into(),
        other => other.into(),
    }
}

fn check_names(schema: &Schema) -> Result<(), OutputError> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        Some(field) => Err(OutputError::SameName { name: field.name().clone() }),
        None => Ok(()),
    }
}

/// The values of a batch as text, row by row; null is `null`. Control characters are escaped, so that no value speaks to the
/// terminal; line breaks stay.
///
/// # Errors
/// A value that cannot be shown, such as a time far outside of the calendar.
pub fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("null");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |row| columns.iter().map(|column| Ok(escape(&column.value(row).try_to_string()?))).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}
