//! Writing a column of a chunk anew: the old values with some cells replaced and rows added at the end.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use tastemaker_types::AttributeType;

use super::cell::Cell;
use super::dictionary::Dictionary;

/// Cells by their place in the chunk, in order, each place at most once.
type Cells<'a> = [(usize, &'a Cell<'a>)];

/// The members of a list, none if it is NULL.
pub(super) fn tags_at(lists: &ListArray, offset: usize) -> Option<impl Iterator<Item = &str>> {
    if offset >= lists.len() || lists.is_null(offset) {
        return None;
    }
    let values = lists.values().as_string_opt::<i32>()?;
    let range = lists.value_offsets().get(offset..offset + 2)?;
    let (from, to) = (usize::try_from(*range.first()?).ok()?, usize::try_from(*range.last()?).ok()?);
    Some((from..to).map(|index| values.value(index)))
}

/// The tag of a row, none if it is NULL.
pub(super) fn tag_at(tags: &DictionaryArray<Int32Type>, offset: usize) -> Option<&str> {
    if offset >= tags.len() || tags.is_null(offset) {
        return None;
    }
    let key = usize::try_from(tags.keys().value(offset)).ok()?;
    tags.values().as_string_opt::<i32>().filter(|values| key < values.len()).map(|values| values.value(key))
}

/// Whether `column` has `cell` at `offset` already.
pub(super) fn holds(column: &ArrayRef, offset: usize, cell: &Cell<'_>) -> bool {
    if offset >= column.len() {
        return false;
    }
    match cell {
        Cell::Null => column.is_null(offset),
        _ if column.is_null(offset) => false,
        Cell::Number(number) => {
            column.as_primitive_opt::<Float64Type>().is_some_and(|a| a.value(offset).to_bits() == number.to_bits())
        }
        Cell::Bool(value) => column.as_boolean_opt().is_some_and(|a| a.value(offset) == *value),
        Cell::Time(micros) => {
            column.as_primitive_opt::<TimestampMicrosecondType>().is_some_and(|a| a.value(offset) == *micros)
        }
        Cell::Text(text) => match column.as_dictionary_opt::<Int32Type>() {
            Some(tags) => tag_at(tags, offset) == Some(text),
            None => column.as_string_opt::<i32>().is_some_and(|a| a.value(offset) == text),
        },
        Cell::Tags(tags) => column
            .as_list_opt::<i32>()
            .and_then(|lists| tags_at(lists, offset))
            .is_some_and(|members| members.eq(tags.iter().map(Cow::as_ref))),
    }
}

/// `rows` rows: those of `old`, NULL after them, and `cells` in place of what stood there.
pub(super) fn write(declared: AttributeType, old: Option<&ArrayRef>, rows: usize, cells: &Cells<'_>) -> ArrayRef {
    match declared {
        AttributeType::Number => {
            let old = old.and_then(|column| column.as_primitive_opt::<Float64Type>());
            let number = |cell: &Cell<'_>| if let Cell::Number(number) = cell { Some(*number) } else { None };
            Arc::new(primitives(old, rows, cells, number))
        }
        AttributeType::Time => {
            let old = old.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let micros = |cell: &Cell<'_>| if let Cell::Time(micros) = cell { Some(*micros) } else { None };
            Arc::new(primitives(old, rows, cells, micros).with_timezone("UTC"))
        }
        AttributeType::Bool => Arc::new(bools(old.and_then(|column| column.as_boolean_opt()), rows, cells)),
        AttributeType::Text => Arc::new(texts(old.and_then(|column| column.as_string_opt::<i32>()), rows, cells)),
        AttributeType::Tag => Arc::new(tags(old.and_then(|column| column.as_dictionary_opt()), rows, cells)),
        AttributeType::Tags => Arc::new(lists(old.and_then(|column| column.as_list_opt::<i32>()), rows, cells)),
    }
}

/// Which rows are valid after `cells`.
fn validity(old: Option<&dyn Array>, rows: usize, cells: &Cells<'_>) -> Option<NullBuffer> {
    let mut valid = BooleanBufferBuilder::new(rows);
    if let Some(old) = old {
        match old.nulls() {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(old.len(), true),
        }
    }
    valid.append_n(rows - valid.len(), false);
    for (offset, cell) in cells {
        valid.set_bit(*offset, !matches!(cell, Cell::Null));
    }
    Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
}

fn primitives<T: ArrowPrimitiveType>(
    old: Option<&PrimitiveArray<T>>,
    rows: usize,
    cells: &Cells<'_>,
    of: impl Fn(&Cell<'_>) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(rows);
    values.extend_from_slice(old.map_or(&[], |old| old.values()));
    values.resize(rows, T::Native::default());
    for (offset, cell) in cells {
        if let Some(slot) = values.get_mut(*offset) {
            *slot = of(cell).unwrap_or_default();
        }
    }
    PrimitiveArray::new(values.into(), validity(old.map(|old| old as &dyn Array), rows, cells))
}

fn bools(old: Option<&BooleanArray>, rows: usize, cells: &Cells<'_>) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(rows);
    if let Some(old) = old {
        values.append_buffer(old.values());
    }
    values.append_n(rows - values.len(), false);
    for (offset, cell) in cells {
        values.set_bit(*offset, matches!(cell, Cell::Bool(true)));
    }
    BooleanArray::new(values.finish(), validity(old.map(|old| old as &dyn Array), rows, cells))
}

/// Calls `each` with every row's new cell, or with none where the old value stays.
fn merge<'c>(rows: usize, cells: &'c Cells<'_>, mut each: impl FnMut(usize, Option<&'c Cell<'c>>)) {
    let mut cells = cells.iter().peekable();
    for row in 0..rows {
        each(row, cells.next_if(|(offset, _)| *offset == row).map(|(_, cell)| *cell));
    }
}

fn texts(old: Option<&StringArray>, rows: usize, cells: &Cells<'_>) -> StringArray {
    let mut builder = StringBuilder::with_capacity(rows, old.map_or(0, |old| old.values().len()));
    merge(rows, cells, |row, cell| match (cell, old) {
        (Some(Cell::Text(text)), _) => builder.append_value(text),
        (None, Some(old)) if row < old.len() && old.is_valid(row) => builder.append_value(old.value(row)),
        _ => builder.append_null(),
    });
    shrunk(&builder.finish())
}

fn lists(old: Option<&ListArray>, rows: usize, cells: &Cells<'_>) -> ListArray {
    let mut builder = ListBuilder::with_capacity(StringBuilder::new(), rows);
    merge(rows, cells, |row, cell| match cell {
        Some(Cell::Tags(tags)) => builder.append_value(tags.iter().map(|tag| Some(tag.as_ref()))),
        Some(_) => builder.append_null(),
        None => match old.and_then(|old| tags_at(old, row)) {
            Some(members) => builder.append_value(members.map(Some)),
            None => builder.append_null(),
        },
    });
    let (field, offsets, values, nulls) = builder.finish().into_parts();
    let values: ArrayRef = match values.as_string_opt::<i32>() {
        Some(texts) => Arc::new(shrunk(texts)),
        None => values,
    };
    ListArray::new(field, offsets, values, nulls)
}

/// The same texts in buffers without spare room: a builder grows by doubling, and a catalog keeps thousands of them.
fn shrunk(texts: &StringArray) -> StringArray {
    let (offsets, values, nulls) = texts.clone().into_parts();
    let offsets = arrow_buffer::OffsetBuffer::new(offsets.iter().copied().collect());
    StringArray::new(offsets, values.as_slice().to_vec().into(), nulls)
}

/// Each distinct tag once, in the order of first use; a dictionary that has come to hold more unused than used tags is
/// made anew.
fn tags(old: Option<&DictionaryArray<Int32Type>>, rows: usize, cells: &Cells<'_>) -> DictionaryArray<Int32Type> {
    let mut dictionary = Dictionary::default();
    if let Some(values) = old.and_then(|old| old.values().as_string_opt::<i32>()) {
        // In their order, so that the keys of rows that stay are right.
        (0..values.len()).for_each(|key| _ = dictionary.key(values.value(key)));
    }
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(rows);
    merge(rows, cells, |row, cell| {
        keys.push(match cell {
            Some(Cell::Text(text)) => Some(dictionary.key(text)),
            Some(_) => None,
            None => old.filter(|old| row < old.len() && old.is_valid(row)).map(|old| old.keys().value(row)),
        });
    });
    let mut dictionary = dictionary.into_tags();
    compact(&mut dictionary, &mut keys);
    let values = shrunk(&StringArray::from_iter_values(&dictionary));
    DictionaryArray::new(Int32Array::from(keys), Arc::new(values))
}

fn compact(dictionary: &mut Vec<&str>, keys: &mut [Option<i32>]) {
    /// Unused tags that are not worth the work.
    const SLACK: usize = 16;
    let mut new_key: Vec<Option<i32>> = vec![None; dictionary.len()];
    let mut used = 0;
    for key in keys.iter().flatten() {
        if let Some(slot @ None) = new_key.get_mut(*key as usize) {
            *slot = Some(used);
            used += 1;
        }
    }
    let unused = dictionary.len() - used as usize;
    if unused <= used as usize + SLACK {
        return;
    }
    let mut kept = vec![""; used as usize];
    for (text, key) in dictionary.iter().zip(&new_key) {
        if let Some(slot) = key.and_then(|key| kept.get_mut(key as usize)) {
            *slot = text;
        }
    }
    *dictionary = kept;
    for key in keys {
        *key = key.and_then(|key| new_key.get(key as usize).copied().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_forgets_tags_that_nobody_has_any_more() {
        let mut column: Option<ArrayRef> = None;
        for round in 0..200 {
            let cell = Cell::Text(Cow::Owned(format!("tag {round}")));
            column = Some(write(AttributeType::Tag, column.as_ref(), 4, &[(round % 4, &cell)]));
        }
        let column = column.unwrap();
        let tags = column.as_dictionary::<Int32Type>();
        assert!(tags.values().len() < 30, "{}", tags.values().len());
        let all: Vec<_> = (0..4).map(|row| tag_at(tags, row).unwrap()).collect();
        assert_eq!(all, ["tag 196", "tag 197", "tag 198", "tag 199"]);
    }
}
