//! Entity rows: a Parquet or CSV file whose rows each name an entity and a time, with any further columns, such as a label. They are read
//! chunk by chunk, each large enough to be worth a join and small enough for memory.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_csv::reader::Format;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tastemaker_types::Timestamp;

use super::column::{Role, utc};
use super::unit::guarded;
use super::{JoinRows, TableError};

/// The columns that name entities.
const ENTITIES: [&str; 2] = ["user_id", "item_id"];
/// All columns of ids.
const IDS: [&str; 3] = ["user_id", "item_id", "request_id"];
/// The columns that may hold the time, the first that is there.
const TIMES: [&str; 2] = ["event_timestamp", "timestamp"];
const BATCH_ROWS: usize = 8_192;
/// A chunk ends early when its columns are this large.
const CHUNK_BYTES: usize = 1 << 30;
const KNOWN: &str = ".parquet or .csv";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A file of entity rows, as an iterator over chunks of it.
pub struct EntityRows {
    path: PathBuf,
    batches: Batches,
    schema: SchemaRef,
    keys: Vec<(&'static str, usize)>,
    time: usize,
    chunk_rows: usize,
    rows: u64,
    failed: bool,
}

/// Some consecutive rows.
#[derive(Debug)]
pub struct EntityChunk {
    /// All columns as they are in the file, in the schema of [`EntityRows::schema`].
    pub batches: Vec<RecordBatch>,
    path: PathBuf,
    keys: Vec<(&'static str, StringArray)>,
    times: TimestampMicrosecondArray,
}

impl EntityRows {
    /// How many rows make a chunk well: a join holds about 100 bytes for each, and reads its table once for each chunk.
    pub const CHUNK_ROWS: usize = 4_000_000;

    /// Opens a `.parquet` or `.csv` file (with a header, separated by commas) that has the column `user_id`, `item_id` or both, and
    /// `event_timestamp` or `timestamp`. Keys are text or integers; times are timestamps, dates, or text in any form that
    /// [`Timestamp`] reads, which becomes a timestamp. The types of further columns of a CSV file are told by all of its values.
    ///
    /// # Errors
    /// A file that cannot be read, lacks one of these columns, or has one of another type.
    pub fn open(path: &Path, chunk_rows: usize) -> Result<Self, TableError> {
        let (found, batches) = open(path)?;
        let missing = |wanted: &str| missing(path, &found, wanted);
        let place = |name: &&'static str| Some((*name, found.column_with_name(name)?.0));
        let keys: Vec<_> = ENTITIES.iter().filter_map(place).collect();
        if keys.is_empty() {
            return Err(missing("'user_id' or 'item_id' for the entity"));
        }
        let Some((_, time)) = TIMES.iter().find_map(place) else {
            return Err(missing("'event_timestamp' or 'timestamp' for the time"));
        };

        let mut fields: Vec<Arc<Field>> = found.fields().to_vec();
        let roles = keys.iter().map(|(_, place)| (*place, Role::Key)).chain([(time, Role::Time)]);
        for (place, role) in roles {
            let Some(field) = fields.get_mut(place) else { continue };
            if role == Role::Time && field.data_type() == &DataType::Utf8 {
                *field = Arc::new(field.as_ref().clone().with_data_type(utc()));
            } else if let Some(remedy) = role.remedy(field.data_type()) {
                return Err(TableError::ColumnType {
                    rows: path.display().to_string(),
                    column: field.name().clone(),
                    what: if role == Role::Time { "the time" } else { "the entity" }.to_owned(),
                    found: field.data_type().to_string(),
                    remedy,
                });
            }
        }
        let (path, schema, chunk_rows) = (path.to_owned(), Arc::new(Schema::new(fields)), chunk_rows.max(1));
        Ok(Self { path, batches, schema, keys, time, chunk_rows, rows: 0, failed: false })
    }

    /// The columns of the rows, as they are to be written with features beside them.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn chunk(&mut self) -> Result<Option<EntityChunk>, TableError> {
        let mut batches = Vec::new();
        let mut times = Vec::new();
        let mut keys = vec![Vec::new(); self.keys.len()];
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.chunk_rows && bytes < CHUNK_BYTES {
            let unreadable = |e: ArrowError| {
                let reason = format!("it breaks off after row {}: {e}", self.rows);
                TableError::unreadable(&self.path, reason)
            };
            let next = guarded(&self.path, || Ok::<_, ArrowError>(self.batches.next().transpose()))?;
            let Some(batch) = next.map_err(unreadable)? else { break };
            let mut columns = batch.columns().to_vec();
            let time = columns.get_mut(self.time).map(|column| self.times(column)).transpose()?;
            times.extend(time);
            for ((_, place), keys) in self.keys.iter().zip(&mut keys) {
                if let Some(column) = columns.get(*place) {
                    keys.push(Role::Key.normalise(column).map_err(unreadable)?);
                }
            }
            let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(unreadable)?;
            self.rows += batch.num_rows() as u64;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            batches.push(batch);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.iter().zip(keys).map(|((name, _), keys)| Ok((*name, one(&keys)?.as_string().clone())));
        let keys = keys.collect::<Result<_, ArrowError>>()?;
        let times = one(&times)?.as_primitive::<TimestampMicrosecondType>().clone();
        Ok(Some(EntityChunk { batches, path: self.path.clone(), keys, times }))
    }

    /// The times of a batch, which is the next after `self.rows` rows. If they are text, `column` becomes timestamps.
    fn times(&self, column: &mut ArrayRef) -> Result<ArrayRef, TableError> {
        let refuse = |row: usize, reason: String| {
            let column = self.schema.fields().get(self.time).map_or("", |field| field.name().as_str()).to_owned();
            Err(TableError::Row { path: self.path.clone(), row: self.rows + row as u64 + 1, column, reason })
        };
        if let Some(texts) = column.as_string_opt::<i32>() {
            let mut micros = Vec::with_capacity(texts.len());
            for (row, text) in texts.iter().enumerate() {
                match text.unwrap_or_default().parse::<Timestamp>() {
                    Ok(time) => micros.push(time.as_micros()),
                    Err(e) => return refuse(row, e.to_string()),
                }
            }
            *column = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
        }
        let times = Role::Time.normalise(column)?;
        match (0..times.len()).find(|row| times.is_null(*row)) {
            Some(row) => {
                refuse(row, "there is no time; give every row the time at which features are wanted".to_owned())
            }
            None => Ok(times),
        }
    }
}

impl Iterator for EntityRows {
    type Item = Result<EntityChunk, TableError>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let chunk = self.chunk();
        self.failed = chunk.is_err();
        chunk.transpose()
    }
}

impl EntityChunk {
    /// The time of each row.
    pub(crate) fn times(&self) -> &TimestampMicrosecondArray {
        &self.times
    }

    /// The keys that `entities` name (`user_id`, `item_id`), in this order, and the times, for a join.
    ///
    /// # Errors
    /// [`TableError::RowColumn`] if the file lacks one of them.
    pub fn join_rows(&self, entities: &[&str]) -> Result<JoinRows, TableError> {
        let column = |entity: &&str| {
            let found = self.keys.iter().find(|(name, _)| name == entity);
            found.map(|(_, keys)| keys.clone()).ok_or_else(|| TableError::RowColumn {
                path: self.path.clone(),
                wanted: format!("'{entity}', which a feature is about"),
                columns: self.batches.first().map_or_else(String::new, |batch| {
                    let schema = batch.schema();
                    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                    names.join(", ")
                }),
            })
        };
        JoinRows::new(entities.iter().map(column).collect::<Result<_, _>>()?, &self.times)
    }
}

fn one(arrays: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    arrow_select::concat::concat(&arrays)
}

fn open(path: &Path) -> Result<(SchemaRef, Batches), TableError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "parquet" => parquet(path),
        "csv" => csv(path),
        _ => Err(TableError::Format { path: path.to_owned(), known: KNOWN }),
    }
}

fn missing(path: &Path, found: &Schema, wanted: &str) -> TableError {
    let columns: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
    TableError::RowColumn { path: path.to_owned(), wanted: wanted.to_owned(), columns: columns.join(", ") }
}

/// One column of ids of a `.parquet` or `.csv` file, batch by batch.
pub(crate) fn texts_of(
    path: &Path,
    column: &str,
) -> Result<impl Iterator<Item = Result<StringArray, TableError>>, TableError> {
    let (found, batches) = open(path)?;
    let Some((place, field)) = found.column_with_name(column) else {
        return Err(missing(path, &found, &format!("'{column}'")));
    };
    if let Some(remedy) = Role::Key.remedy(field.data_type()) {
        return Err(TableError::ColumnType {
            rows: path.display().to_string(),
            column: column.to_owned(),
            what: "the ids".to_owned(),
            found: field.data_type().to_string(),
            remedy,
        });
    }
    let path = path.to_owned();
    Ok(batches.map(move |batch| {
        let texts = batch.and_then(|batch| Role::Key.normalise(batch.column(place)));
        texts.map(|texts| texts.as_string().clone()).map_err(|e| TableError::unreadable(&path, e))
    }))
}

fn parquet(path: &Path) -> Result<(SchemaRef, Batches), TableError> {
    let file = File::open(path).map_err(TableError::open(path))?;
    let builder = guarded(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    let schema = builder.schema().clone();
    let reader = guarded(path, || builder.with_batch_size(BATCH_ROWS).build())?;
    Ok((schema, Box::new(reader)))
}

fn csv(path: &Path) -> Result<(SchemaRef, Batches), TableError> {
    let unreadable = |e: ArrowError| TableError::unreadable(path, e);
    let mut file = File::open(path).map_err(TableError::open(path))?;
    let (inferred, _) =
        Format::default().with_header(true).infer_schema(BufReader::new(&file), None).map_err(unreadable)?;
    let field = |field: &Arc<Field>| {
        let name = field.name().trim_start_matches('\u{feff}').trim();
        // Keys stay as they are written ("007"), and times are read by our own rules.
        let as_text = IDS.contains(&name) || TIMES.contains(&name) || field.data_type().is_null();
        let kind = if as_text { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(name, kind, true)
    };
    let schema = Arc::new(Schema::new(inferred.fields().iter().map(field).collect::<Vec<_>>()));
    file.rewind().map_err(TableError::open(path))?;
    let reader = arrow_csv::ReaderBuilder::new(schema.clone()).with_header(true).with_batch_size(BATCH_ROWS);
    Ok((schema, Box::new(reader.build(file).map_err(unreadable)?)))
}
