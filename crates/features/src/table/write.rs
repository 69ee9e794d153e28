//! Tables that go out: Parquet, or an Arrow IPC file, that appears whole or not at all.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tempfile::NamedTempFile;

use super::TableError;

const ROW_GROUP_BYTES: usize = 64 << 20;
const KNOWN: &str = ".parquet or .arrow";

/// Writes batches to a file beside `path`, which [`FeatureWriter::finish`] puts in its place. Dropped before, it leaves nothing behind.
pub struct FeatureWriter {
    path: PathBuf,
    schema: SchemaRef,
    format: Format,
    rows: u64,
}

type Temporary = NamedTempFile<std::fs::File>;

enum Format {
    Parquet(Box<ArrowWriter<Temporary>>),
    Arrow(Box<FileWriter<BufWriter<Temporary>>>),
}

impl FeatureWriter {
    /// Begins a file: Parquet if the path ends in `.parquet`, Arrow IPC if it ends in `.arrow`.
    ///
    /// # Errors
    /// [`TableError::Format`], [`TableError::DuplicateColumn`], or [`TableError::Write`].
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self, TableError> {
        for (index, field) in schema.fields().iter().enumerate() {
            if schema.fields().iter().take(index).any(|other| other.name() == field.name()) {
                return Err(TableError::DuplicateColumn { path: path.to_owned(), column: field.name().clone() });
            }
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let failed = |e: &dyn ToString| TableError::write(path, e.to_string());
        let format = match extension.to_ascii_lowercase().as_str() {
            "parquet" => {
                let writer = ArrowWriter::try_new(temporary(path)?, schema.clone(), Some(properties(&schema)));
                Format::Parquet(Box::new(writer.map_err(|e| failed(&e))?))
            }
            "arrow" => {
                let file = BufWriter::new(temporary(path)?);
                Format::Arrow(Box::new(FileWriter::try_new(file, &schema).map_err(|e| failed(&e))?))
            }
            _ => return Err(TableError::Format { path: path.to_owned(), known: KNOWN }),
        };
        Ok(Self { path: path.to_owned(), schema, format, rows: 0 })
    }

    /// Adds rows; a batch of Arrow's stays one batch of the file.
    ///
    /// # Errors
    /// [`TableError::Write`], also if the batch is of another schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let failed = |e: &dyn ToString| TableError::write(&self.path, e.to_string());
        // The IPC writer would write such a batch, and nobody could read it.
        if batch.schema_ref().fields() != self.schema.fields() {
            return Err(failed(&"a batch has other columns than the file"));
        }
        match &mut self.format {
            Format::Parquet(writer) => writer.write(batch).map_err(|e| failed(&e))?,
            Format::Arrow(writer) => writer.write(batch).map_err(|e| failed(&e))?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Puts the file in its place, where it replaces what was there, and gives the number of its rows.
    ///
    /// # Errors
    /// [`TableError::Write`]; what was there before then still is.
    pub fn finish(self) -> Result<u64, TableError> {
        let Self { path, format, rows, .. } = self;
        let failed = |e: &dyn ToString| TableError::write(&path, e.to_string());
        let file = match format {
            Format::Parquet(writer) => writer.into_inner().map_err(|e| failed(&e))?,
            Format::Arrow(mut writer) => {
                writer.finish().map_err(|e| failed(&e))?;
                let buffer = writer.into_inner().map_err(|e| failed(&e))?;
                buffer.into_inner().map_err(|e| failed(e.error()))?
            }
        };
        file.as_file().sync_all().map_err(|e| failed(&e))?;
        file.persist(&path).map_err(|e| failed(&e.error))?;
        fs::File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(|e| failed(&e))?;
        Ok(rows)
    }
}

/// Numbers have no dictionary: hardly any repeats, and looking each up takes longer than all else.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let numbers = schema.fields().iter().filter(|field| field.data_type().is_floating());
    numbers
        .fold(WriterProperties::builder(), |properties, field| {
            properties.set_column_dictionary_enabled(ColumnPath::from(vec![field.name().clone()]), false)
        })
        .set_created_by(concat!("tastemaker ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

/// A hidden file in the folder of `path`, so that it can be renamed there.
fn temporary(path: &Path) -> Result<Temporary, TableError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        // Made here, because tempfile's own files are for one user only, and this one stays.
        .make_in(folder_of(path), |path| std::fs::File::create_new(path))
        .map_err(|e| TableError::write(path, e))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
