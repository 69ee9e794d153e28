//! The catalog at one moment: everything that readers ask, none of it ever changing under them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use tastemaker_expr::{Column, Expr, Schema, arrow_type};
use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Timestamp, Value};

use super::change::row_count;
use super::chunk::{CHUNK_WORDS, Chunk, place};
use super::column::{tag_at, tags_at};
use super::filter::{FilterCache, FilterCacheStats};
use super::{CatalogError, gather};
use crate::Bitmap;

/// What all snapshots of a catalog have in common.
pub(super) struct Shared {
    pub(super) attributes: AttributeSchema,
    pub(super) schema: Schema,
    arrow: SchemaRef,
    by_name: HashMap<String, usize>,
    /// Rows of all ids ever seen. Ids are only added, so a snapshot needs but ignore rows past its end.
    pub(super) rows: papaya::HashMap<Arc<str>, u32>,
    filters: FilterCache,
}

/// How expressions may qualify attributes of items.
const QUALIFIER: &str = "item";

impl Shared {
    pub(super) fn new(attributes: AttributeSchema, items: usize) -> Self {
        let field = |(name, declared): &(String, AttributeType)| Field::new(name, arrow_type(*declared), true);
        Self {
            schema: Schema::for_attributes(&attributes).with_default_qualifier(QUALIFIER),
            arrow: Arc::new(ArrowSchema::new(attributes.fields().iter().map(field).collect::<Vec<_>>())),
            by_name: attributes.fields().iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect(),
            rows: papaya::HashMap::with_capacity(items),
            filters: FilterCache::new(),
            attributes,
        }
    }

    /// Place and declared type of an attribute.
    pub(super) fn column(&self, name: &str) -> Option<(usize, AttributeType)> {
        let index = *self.by_name.get(name)?;
        self.attributes.fields().get(index).map(|(_, declared)| (index, *declared))
    }

    /// The attribute that a column of an expression is: compiled against [`Shared::schema`] it has the same place, compiled
    /// against a wider schema it has the same name, perhaps qualified.
    pub(super) fn column_of(&self, column: &Column) -> Option<usize> {
        match self.attributes.fields().get(column.index) {
            Some((name, _)) if **name == *column.name => Some(column.index),
            _ => {
                let unqualified = || column.name.strip_prefix(QUALIFIER)?.strip_prefix('.');
                self.by_name.get(&*column.name).or_else(|| self.by_name.get(unqualified()?)).copied()
            }
        }
    }

    /// The attributes that an expression reads.
    pub(super) fn columns_of(&self, expr: &Expr) -> Result<Vec<usize>, CatalogError> {
        let known = |column: &Column| {
            self.column_of(column).ok_or_else(|| CatalogError::NotAnAttribute { name: column.name.to_string() })
        };
        expr.column_refs().iter().map(known).collect()
    }
}

/// The catalog at one moment. Cheap to hold; it keeps only what has changed since from being freed.
pub struct CatalogSnapshot {
    shared: Arc<Shared>,
    chunks: Vec<Arc<Chunk>>,
    len: usize,
    version: u64,
    alive: OnceLock<Arc<Bitmap>>,
}

impl CatalogSnapshot {
    pub(super) fn empty(shared: Arc<Shared>) -> Self {
        Self::new(shared, Vec::new(), 0)
    }

    pub(super) fn new(shared: Arc<Shared>, chunks: Vec<Arc<Chunk>>, version: u64) -> Self {
        let len = row_count(&chunks);
        Self { shared, chunks, len, version, alive: OnceLock::new() }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Increases with every change that is published.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Number of rows, dead ones included: every row is below it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no item was ever seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What expressions over items are compiled against: the attributes, by their names or as `item.name`.
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// The declared attributes of items.
    pub fn attribute_schema(&self) -> &AttributeSchema {
        &self.shared.attributes
    }

    /// The row of an id, be its item alive or deleted.
    pub fn row(&self, id: &str) -> Option<u32> {
        self.shared.rows.pin().get(id).copied().filter(|row| (*row as usize) < self.len)
    }

    /// The id of a row, be its item alive or deleted.
    pub fn id(&self, row: u32) -> Option<&Arc<str>> {
        let (chunk, offset) = place(row);
        self.chunks.get(chunk)?.ids.get(offset)
    }

    /// Whether the row's item exists and is not deleted.
    pub fn alive(&self, row: u32) -> bool {
        let (chunk, offset) = place(row);
        self.chunks.get(chunk).is_some_and(|chunk| chunk.is_alive(offset))
    }

    /// The earliest time at which the item was upserted or something was done with it.
    pub fn first_seen(&self, row: u32) -> Option<Timestamp> {
        let (chunk, offset) = place(row);
        self.chunks.get(chunk)?.first_seen.get(offset).copied().map(Timestamp::from_micros)
    }

    /// All rows whose items are alive.
    pub fn alive_rows(&self) -> Arc<Bitmap> {
        Arc::clone(self.alive.get_or_init(|| {
            let mut words = Vec::with_capacity(self.chunks.len() * CHUNK_WORDS);
            self.chunks.iter().for_each(|chunk| words.extend_from_slice(&chunk.alive));
            Arc::new(Bitmap::from_words(words, self.len))
        }))
    }

    /// All live rows for which `filter` is true. Kept by [`Expr::cache_key`], so that asking again costs next to nothing
    /// and a change costs the evaluation of the chunks it touched.
    ///
    /// # Errors
    /// If the filter reads anything but attributes of items, or is not a bool.
    pub fn bitmap(&self, filter: &Expr) -> Result<Arc<Bitmap>, CatalogError> {
        self.shared.filters.bitmap(self, filter)
    }

    /// Size of the kept filters.
    pub fn filter_cache(&self) -> FilterCacheStats {
        self.shared.filters.stats()
    }

    /// All attributes of `rows`, in their order, as columns named as the attributes. A row that does not exist has only
    /// NULLs.
    pub fn gather(&self, rows: &[u32]) -> RecordBatch {
        let all: Vec<usize> = (0..self.shared.attributes.fields().len()).collect();
        self.gather_columns(rows, &all)
    }

    /// As [`CatalogSnapshot::gather`], only the attributes that `exprs` read.
    ///
    /// # Errors
    /// If one reads anything but attributes of items.
    pub fn gather_for<'e>(
        &self,
        rows: &[u32],
        exprs: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<RecordBatch, CatalogError> {
        let mut columns = Vec::new();
        for expr in exprs {
            columns.extend(self.shared.columns_of(expr)?);
        }
        columns.sort_unstable();
        columns.dedup();
        Ok(self.gather_columns(rows, &columns))
    }

    /// As [`CatalogSnapshot::gather`], only the attributes at these places of the declaration; others are left out.
    pub fn gather_columns(&self, rows: &[u32], columns: &[usize]) -> RecordBatch {
        let declared = self.shared.attributes.fields();
        let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns
            .iter()
            .filter_map(|index| {
                let field = self.shared.arrow.fields().get(*index)?;
                let array = gather::gather(&self.chunks, rows, *index, declared.get(*index)?.1);
                Some((Arc::clone(field), array))
            })
            .unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        // The arrays are made after the fields, so they fit.
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
            .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(ArrowSchema::empty())))
    }

    /// The attributes of a row that are not NULL.
    pub fn attributes(&self, row: u32) -> Attributes {
        let names = self.shared.attributes.fields().iter();
        names.enumerate().filter_map(|(index, (name, _))| Some((name.clone(), self.value(row, index)?))).collect()
    }

    /// One attribute of a row by its place in the declaration; none if it is NULL.
    pub fn value(&self, row: u32, attribute: usize) -> Option<Value> {
        let (chunk, offset) = place(row);
        let column = self.chunks.get(chunk)?.columns.get(attribute)?;
        let (_, declared) = self.shared.attributes.fields().get(attribute)?;
        if offset >= column.len() || column.is_null(offset) {
            return None;
        }
        Some(match declared {
            AttributeType::Tag => Value::Text(tag_at(column.as_dictionary_opt::<Int32Type>()?, offset)?.to_owned()),
            AttributeType::Tags => {
                Value::Tags(tags_at(column.as_list_opt::<i32>()?, offset)?.map(str::to_owned).collect())
            }
            AttributeType::Text => Value::Text(column.as_string_opt::<i32>()?.value(offset).to_owned()),
            AttributeType::Number => Value::Number(column.as_primitive_opt::<Float64Type>()?.value(offset)),
            AttributeType::Bool => Value::Bool(column.as_boolean_opt()?.value(offset)),
            AttributeType::Time => {
                let micros = column.as_primitive_opt::<TimestampMicrosecondType>()?.value(offset);
                Value::Time(Timestamp::from_micros(micros))
            }
        })
    }

    /// Bytes of attributes and times of first sight, without ids and the rows by id.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes()).sum()
    }
}

impl std::fmt::Debug for CatalogSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CatalogSnapshot({} rows, version {})", self.len, self.version)
    }
}
