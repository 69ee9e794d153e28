//! Opening a table: its files are found, their footers read, and every column checked against its declaration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use fs_err as fs;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetStatisticsPolicy;
use tastemaker_types::did_you_mean;
use xxhash_rust::xxh3::Xxh3;

use super::column::Role;
use super::files::{expand, partition_value};
use super::unit::guarded;
use super::{FeatureType, TableError};

/// The rows that are read as one piece of parallel work, within one row group.
const UNIT_ROWS: usize = 1 << 18;

/// A key column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// What the key is called in what is read, such as `user_id`.
    pub name: String,
    /// The column of the file.
    pub column: String,
}

/// A feature column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureColumn {
    /// What the feature is called.
    pub name: String,
    /// The column of the file.
    pub column: String,
    /// What it holds.
    pub feature_type: FeatureType,
}

/// Where a table is, and which of its columns are what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSource {
    /// A Parquet file, a folder of them (Hive partitions are fine, and their names serve as columns), or a pattern (`data/*.parquet`).
    pub path: String,
    /// One column, or two for a pair: text, or integers, which stand for their decimal text.
    pub keys: Vec<KeyColumn>,
    /// When a row became true: a timestamp of any unit (without a zone: UTC), or a date (its midnight, UTC).
    pub event_time: String,
    /// When a row was written, if the table says so; a null is taken for the event time.
    pub created: Option<String>,
    /// The features that are read.
    pub features: Vec<FeatureColumn>,
}

/// A column that is looked for.
struct Column<'a> {
    /// What it is called in what is read.
    name: &'a str,
    /// What it is called where it comes from.
    column: &'a str,
    role: Role,
    /// What it is for, in messages.
    what: String,
}

impl TableSource {
    /// Checks that rows with these columns can be read as this table; `rows` says in messages what they are.
    ///
    /// # Errors
    /// [`TableError::MissingColumn`] and [`TableError::ColumnType`].
    pub fn check_columns(&self, rows: &str, schema: &Schema) -> Result<(), TableError> {
        let rows = || rows.to_owned();
        self.columns().iter().try_for_each(|column| match schema.column_with_name(column.column) {
            Some((_, field)) => column.check(rows, field),
            None => Err(column.missing(rows(), schema.fields())),
        })
    }

    fn columns(&self) -> Vec<Column<'_>> {
        let keys = self.keys.iter().map(|key| Column {
            name: &key.name,
            column: &key.column,
            role: Role::Key,
            what: format!("the key '{}'", key.name),
        });
        let time = |name, column, what: &str| Column { name, column, role: Role::Time, what: what.to_owned() };
        let event_time = time("event_time", &self.event_time, "the event time");
        let created = self.created.as_deref().map(|column| time("created", column, "the created time"));
        let features = self.features.iter().map(|feature| Column {
            name: &feature.name,
            column: &feature.column,
            role: Role::Feature(feature.feature_type),
            what: format!("the {} '{}'", feature.feature_type, feature.name),
        });
        keys.chain([event_time]).chain(created).chain(features).collect()
    }
}

/// An opened table. Its rows are numbered over all files in order of their paths. Holds the footers of the files, no rows; a table that
/// changes while it is read gives [`TableError::Changed`].
#[derive(Debug)]
pub struct Table {
    pub(super) schema: SchemaRef,
    pub(super) roles: Vec<Role>,
    pub(super) keys: usize,
    pub(super) has_created: bool,
    pub(super) files: Vec<TableFile>,
    pub(super) units: Vec<Unit>,
    rows: u64,
}

#[derive(Debug)]
pub(super) struct TableFile {
    pub path: PathBuf,
    pub stamp: Stamp,
    pub footer: ArrowReaderMetadata,
    /// Where each column of the table's schema is found.
    pub places: Vec<Place>,
}

/// What changes when a file does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
pub(super) enum Place {
    /// In the file, at this root of its schema.
    Root(usize),
    /// In the names of its folders: one value for all rows.
    Folder(ArrayRef),
}

/// A stretch of rows of one row group.
#[derive(Debug)]
pub(super) struct Unit {
    pub file: usize,
    pub row_group: usize,
    /// Where it begins in the row group.
    pub offset: usize,
    pub rows: usize,
    /// The number in the table of its first row.
    pub first_row: u64,
}

impl Table {
    /// Opens every file of `source` and checks that it has the declared columns, of types that can be read as declared.
    ///
    /// # Errors
    /// [`TableError::NoFiles`]; a file that cannot be read, lacks a column, or has one of another type.
    pub fn open(source: &TableSource) -> Result<Self, TableError> {
        if !(1..=2).contains(&source.keys.len()) {
            return Err(TableError::KeyColumns { found: source.keys.len() });
        }
        let columns = source.columns();
        let mut table = Self {
            schema: Arc::new(schema(&columns, source.keys.len())),
            roles: columns.iter().map(|column| column.role).collect(),
            keys: source.keys.len(),
            has_created: source.created.is_some(),
            files: Vec::new(),
            units: Vec::new(),
            rows: 0,
        };
        for path in expand(&source.path)? {
            let (footer, stamp) = read_footer(&path)?;
            let places = columns.iter().map(|column| column.place(&path, &footer)).collect::<Result<_, _>>()?;
            table.add(TableFile { path, stamp, footer, places });
        }
        Ok(table)
    }

    fn add(&mut self, file: TableFile) {
        for (row_group, group) in file.footer.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            for offset in (0..rows).step_by(UNIT_ROWS) {
                let length = UNIT_ROWS.min(rows - offset);
                self.units.push(Unit { file: self.files.len(), row_group, offset, rows: length, first_row: self.rows });
                self.rows += length as u64;
            }
        }
        self.files.push(file);
    }

    /// The columns of what is read: the keys (`Utf8`), `event_time` and, if declared, `created` (microseconds, UTC), then the features, each
    /// of its [`FeatureType::arrow_type`].
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns of the features alone.
    pub fn feature_fields(&self) -> &[Arc<Field>] {
        self.schema.fields().get(self.first_feature()..).unwrap_or_default()
    }

    /// A number that is another one when files come, go or change.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for file in &self.files {
            hasher.update(file.path.as_os_str().as_encoded_bytes());
            hasher.update(format!("{:?} {:?}", file.stamp, self.schema.fields()).as_bytes());
        }
        hasher.digest()
    }

    /// The rows of all files, with those that are refused when read.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether rows say when they were created.
    pub(crate) fn has_created(&self) -> bool {
        self.has_created
    }

    pub(super) fn first_feature(&self) -> usize {
        self.keys + 1 + usize::from(self.has_created)
    }

    /// The names of the keys, for messages.
    pub(super) fn key_names(&self) -> String {
        let names: Vec<&str> = self.schema.fields().iter().take(self.keys).map(|field| field.name().as_str()).collect();
        names.join(", ")
    }
}

fn schema(columns: &[Column<'_>], keys: usize) -> Schema {
    let field = |(index, column): (usize, &Column<'_>)| Field::new(column.name, column.role.arrow_type(), index > keys);
    Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>())
}

fn read_footer(path: &Path) -> Result<(ArrowReaderMetadata, Stamp), TableError> {
    let file = fs::File::open(path).map_err(TableError::open(path))?;
    let stamp = stamp(&file).map_err(TableError::open(path))?;
    // Footers stay in memory, and nothing here looks at the statistics, which are most of them.
    let options = ArrowReaderOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let footer = guarded(path, || ArrowReaderMetadata::load(file.file(), options))?;
    Ok((footer, stamp))
}

pub(super) fn stamp(file: &fs::File) -> std::io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok(Stamp { bytes: metadata.len(), modified: metadata.modified().ok() })
}

impl Column<'_> {
    /// Finds it in a file or in the names of its folders, and checks its type.
    fn place(&self, path: &Path, footer: &ArrowReaderMetadata) -> Result<Place, TableError> {
        let fields = footer.schema().fields();
        let file = || path.display().to_string();
        if let Some((root, field)) = fields.iter().enumerate().find(|(_, field)| field.name() == self.column) {
            return self.check(file, field).map(|()| Place::Root(root));
        }
        match partition_value(path, self.column) {
            Some(value) => match self.role.of_text(value.as_deref()) {
                Ok(value) => Ok(Place::Folder(value)),
                Err(remedy) => Err(self.mistyped(file(), format!("'{}'", value.unwrap_or_default()), remedy)),
            },
            None => Err(self.missing(file(), fields)),
        }
    }

    fn check(&self, rows: impl FnOnce() -> String, field: &Field) -> Result<(), TableError> {
        match self.role.remedy(field.data_type()) {
            None => Ok(()),
            Some(remedy) => Err(self.mistyped(rows(), described(field.data_type()), remedy)),
        }
    }

    fn mistyped(&self, rows: String, found: String, remedy: String) -> TableError {
        TableError::ColumnType { rows, column: self.column.to_owned(), what: self.what.clone(), found, remedy }
    }

    fn missing(&self, rows: String, fields: &Fields) -> TableError {
        TableError::MissingColumn {
            rows,
            column: self.column.to_owned(),
            what: self.what.clone(),
            hint: did_you_mean(self.column, fields.iter().map(|field| field.name().as_str())),
        }
    }
}

/// A type in the words of this page, with Arrow's own.
fn described(found: &DataType) -> String {
    let kind = match found {
        kind if kind.is_integer() => "integers",
        kind if kind.is_floating() => "floats",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Boolean => "booleans",
        DataType::Timestamp(..) => "timestamps",
        DataType::Date32 | DataType::Date64 => "dates",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "lists",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes",
        DataType::Struct(_) => "structures",
        other => return other.to_string(),
    };
    format!("{kind} ({found})")
}
