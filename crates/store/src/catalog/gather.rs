//! Attributes of chosen rows, from wherever they stand, as one batch: what hydrates, filters and scores candidates.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use tastemaker_types::AttributeType;

use super::chunk::{Chunk, place};
use super::column::{tag_at, tags_at};
use super::dictionary::Dictionary;

/// One column of `rows`, in their order; a row that does not exist is NULL.
pub(super) fn gather(chunks: &[Arc<Chunk>], rows: &[u32], index: usize, declared: AttributeType) -> ArrayRef {
    let source = Source { chunks, rows, index };
    match declared {
        AttributeType::Number => Arc::new(source.primitives::<Float64Type>()),
        AttributeType::Time => Arc::new(source.primitives::<TimestampMicrosecondType>().with_timezone("UTC")),
        AttributeType::Bool => source.bools(),
        AttributeType::Text => source.texts(),
        AttributeType::Tag => source.tags(),
        AttributeType::Tags => source.lists(),
    }
}

struct Source<'a> {
    chunks: &'a [Arc<Chunk>],
    rows: &'a [u32],
    index: usize,
}

impl<'a> Source<'a> {
    /// Column and place of each row.
    fn places(&self) -> impl Iterator<Item = Option<(&'a ArrayRef, usize)>> + '_ {
        self.rows.iter().map(|row| {
            let (chunk, offset) = place(*row);
            let column = self.chunks.get(chunk)?.columns.get(self.index)?;
            (offset < column.len()).then_some((column, offset))
        })
    }

    fn primitives<T: ArrowPrimitiveType>(&self) -> PrimitiveArray<T> {
        let mut values = Vec::with_capacity(self.rows.len());
        let mut valid = Vec::with_capacity(self.rows.len());
        let mut any_null = false;
        for found in self.places() {
            let (value, is_valid) = found
                .and_then(|(column, offset)| Some((column.as_primitive_opt::<T>()?, offset)))
                .map_or((T::Native::default(), false), |(array, offset)| (array.value(offset), array.is_valid(offset)));
            values.push(value);
            valid.push(is_valid);
            any_null |= !is_valid;
        }
        let nulls = any_null.then(|| NullBuffer::new(BooleanBuffer::from(valid)));
        PrimitiveArray::new(values.into(), nulls)
    }

    fn bools(&self) -> ArrayRef {
        let mut builder = BooleanBuilder::with_capacity(self.rows.len());
        for found in self.places() {
            builder.append_option(found.and_then(|(column, offset)| {
                column.as_boolean_opt().filter(|array| array.is_valid(offset)).map(|array| array.value(offset))
            }));
        }
        Arc::new(builder.finish())
    }

    fn texts(&self) -> ArrayRef {
        let mut builder = StringBuilder::with_capacity(self.rows.len(), self.rows.len() * 16);
        for found in self.places() {
            builder.append_option(found.and_then(|(column, offset)| {
                column.as_string_opt::<i32>().filter(|array| array.is_valid(offset)).map(|array| array.value(offset))
            }));
        }
        Arc::new(builder.finish())
    }

    /// Dictionaries are per chunk, so the tags of the rows get one of their own.
    fn tags(&self) -> ArrayRef {
        // Found first and told apart afterwards: the first loop does nothing but wait for memory, row by row
        // independently, so the waits overlap.
        let tag = |(column, offset): (&'a ArrayRef, usize)| tag_at(column.as_dictionary_opt::<Int32Type>()?, offset);
        let tags: Vec<Option<&'a str>> = self.places().map(|found| found.and_then(tag)).collect();
        let mut dictionary = Dictionary::default();
        let keys: Int32Array = tags.into_iter().map(|tag| tag.map(|tag| dictionary.key(tag))).collect();
        Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(dictionary.into_tags()))))
    }

    fn lists(&self) -> ArrayRef {
        let mut builder = ListBuilder::with_capacity(StringBuilder::new(), self.rows.len());
        for found in self.places() {
            let members = found.and_then(|(column, offset)| tags_at(column.as_list_opt::<i32>()?, offset));
            match members {
                Some(members) => builder.append_value(members.map(Some)),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }
}
