//! Opening a table: its files are found, their footers read, and every column checked against its declaration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
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
        let mut columns: Vec<(&str, &str, Role, String)> = Vec::new();
        for key in &source.keys {
            columns.push((&key.name, &key.column, Role::Key, format!("the key '{}'", key.name)));
        }
        columns.push(("event_time", &source.event_time, Role::Time, "the event time".to_owned()));
        if let Some(created) = &source.created {
            columns.push(("created", created, Role::Time, "the created time".to_owned()));
        }
        for feature in &source.features {
            let role = Role::Feature(feature.feature_type);
            columns.push((
                &feature.name,
                &feature.column,
                role,
                format!("the {} '{}'", feature.feature_type, feature.name),
            ));
        }

        let mut table = Self {
            schema: Arc::new(schema(&columns, source.keys.len())),
            roles: columns.iter().map(|(_, _, role, _)| *role).collect(),
            keys: source.keys.len(),
            has_created: source.created.is_some(),
            files: Vec::new(),
            units: Vec::new(),
            rows: 0,
        };
        for path in expand(&source.path)? {
            let (footer, stamp) = read_footer(&path)?;
            let places = columns
                .iter()
                .map(|(_, column, role, what)| place(&path, &footer, column, *role, what))
                .collect::<Result<_, _>>()?;
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

fn schema(columns: &[(&str, &str, Role, String)], keys: usize) -> Schema {
    let field = |(index, (name, _, role, _)): (usize, &(&str, &str, Role, String))| {
        Field::new(*name, role.arrow_type(), index > keys)
    };
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

/// Finds a column in a file or in the names of its folders, and checks its type.
fn place(path: &Path, footer: &ArrowReaderMetadata, column: &str, role: Role, what: &str) -> Result<Place, TableError> {
    let mistyped = |found: String, remedy: String| TableError::ColumnType {
        path: path.to_owned(),
        column: column.to_owned(),
        what: what.to_owned(),
        found,
        remedy,
    };
    let fields = footer.schema().fields();
    if let Some((root, field)) = fields.iter().enumerate().find(|(_, field)| field.name() == column) {
        return match role.remedy(field.data_type()) {
            None => Ok(Place::Root(root)),
            Some(remedy) => Err(mistyped(described(field.data_type()), remedy)),
        };
    }
    match partition_value(path, column) {
        Some(value) => match role.of_text(value.as_deref()) {
            Ok(value) => Ok(Place::Folder(value)),
            Err(remedy) => Err(mistyped(format!("'{}'", value.unwrap_or_default()), remedy)),
        },
        None => Err(TableError::MissingColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            what: what.to_owned(),
            hint: did_you_mean(column, fields.iter().map(|field| field.name().as_str())),
        }),
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
