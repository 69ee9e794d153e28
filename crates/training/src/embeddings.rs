//! The vectors of a generation as Parquet: columns `id` (text) and `vector` (list of 32-bit floats), one row per user or
//! item, for use outside of the project.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use tastemaker_artifacts::{Generation, ITEM_FACTORS, ITEM_IDS, IdList, USER_FACTORS, USER_IDS, Version};
use tastemaker_models::{Matrix, ModelError};

use crate::TrainingError;

const ROWS_PER_BATCH: usize = 8_192;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedEmbeddings {
    /// The generation.
    pub version: Version,
    /// Length of the vectors.
    pub rank: usize,
    /// Users written, if asked for.
    pub users: Option<usize>,
    /// Items written, if asked for.
    pub items: Option<usize>,
}

/// Writes the vectors of `generation` to the given files; each is complete or not there.
///
/// # Errors
/// A file of the generation is not what it should be, or a file cannot be written.
pub fn export_embeddings(
    generation: &Generation,
    users: Option<&Path>,
    items: Option<&Path>,
) -> Result<ExportedEmbeddings, TrainingError> {
    let export = |path: Option<&Path>, ids: &str, factors: &str| {
        path.map(|path| {
            let ids = IdList::read(&generation.file(ids)?)?;
            write(path, &ids, &read_vectors(generation, factors, ids.len())?)
        })
        .transpose()
    };
    Ok(ExportedEmbeddings {
        version: generation.version(),
        rank: generation.manifest().model.rank,
        users: export(users, USER_IDS, USER_FACTORS)?,
        items: export(items, ITEM_IDS, ITEM_FACTORS)?,
    })
}

/// The vectors in a file, which must be finite, as many as there are ids, and as long as the manifest says.
fn read_vectors(generation: &Generation, name: &str, ids: usize) -> Result<Matrix, TrainingError> {
    let path = generation.file(name)?.display().to_string();
    let bad = |source| TrainingError::Vectors { path: path.clone(), source };
    let vectors = Matrix::from_bytes(generation.map(name)?).map_err(bad)?;
    let rank = generation.manifest().model.rank;
    for (what, expected, found) in
        [("number of vectors", ids, vectors.rows()), ("length of the vectors", rank, vectors.cols())]
    {
        if expected != found {
            return Err(bad(ModelError::Shape { what, expected, found }));
        }
    }
    Ok(vectors)
}

fn write(path: &Path, ids: &IdList, vectors: &Matrix) -> Result<usize, TrainingError> {
    let failed = |source| TrainingError::Parquet { path: path.display().to_string(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = write_rows(&partial, ids, vectors).map_err(failed);
    match written.and_then(|()| Ok(fs::rename(&partial, path)?)) {
        Ok(()) => Ok(ids.len()),
        Err(error) => {
            // The error that is reported is the first one.
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

fn write_rows(path: &Path, ids: &IdList, vectors: &Matrix) -> Result<(), ParquetError> {
    let value = Arc::new(Field::new("item", DataType::Float32, false));
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("vector", DataType::List(Arc::clone(&value)), false),
    ]));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .build();
    let file = fs::File::create(path).map_err(|error| ParquetError::External(Box::new(error)))?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let all = ids.iter();
    for start in (0..ids.len()).step_by(ROWS_PER_BATCH) {
        let rows = ROWS_PER_BATCH.min(ids.len() - start);
        let values = &vectors.as_slice()[start * vectors.cols()..(start + rows) * vectors.cols()];
        let lists = ListArray::try_new(
            Arc::clone(&value),
            OffsetBuffer::from_repeated_length(vectors.cols(), rows),
            Arc::new(Float32Array::from(values.to_vec())),
            None,
        )?;
        let names = StringArray::from_iter_values(all.clone().skip(start).take(rows));
        let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(lists)];
        let batch: Result<RecordBatch, ArrowError> = RecordBatch::try_new(Arc::clone(&schema), columns);
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
