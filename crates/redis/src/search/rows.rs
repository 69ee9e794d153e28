//! The rows of an `FT.SEARCH`, from either protocol.

use std::collections::HashSet;

use redis::Value;

use super::query::DISTANCE;
use crate::RedisError;
use crate::reply::{bytes, count, list, pairs, text};

/// One item that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The item's id.
    pub id: String,
    /// The cosine distance to the query vector, 0 to 2; none if the search had no vector.
    pub distance: Option<f32>,
    /// Fields that were asked for and that the item has.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Row {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// How many there are in all.
    pub total: u64,
    /// Those that were asked for, the nearest first.
    pub rows: Vec<Row>,
    /// Whether the module stopped early, for want of time.
    pub partial: bool,
}

impl Rows {
    /// Reads an answer. Rows whose key is none of ours are left out, and so are items that were deleted between the search and the reading of
    /// their fields.
    pub(crate) fn read(
        answer: Value,
        operation: &'static str,
        id: impl Fn(&[u8]) -> Option<String>,
    ) -> Result<Self, RedisError> {
        let unreadable = RedisError::answer(operation, "rows of a search", &answer);
        match answer {
            Value::Array(values) => Self::resp2(values, &id),
            Value::Map(entries) => Self::resp3(entries, &id),
            _ => None,
        }
        .ok_or(unreadable)
    }

    /// `[total, key, [field, value, …], key, …]`, without the lists of fields if there are none to return.
    fn resp2(values: Vec<Value>, id: &impl Fn(&[u8]) -> Option<String>) -> Option<Self> {
        let mut values = values.into_iter().peekable();
        let mut found = Self { total: count(&values.next()?)?, ..Self::default() };
        while let Some(key) = values.next() {
            let key = bytes(key)?;
            let content = match values.peek() {
                Some(Value::Array(_) | Value::Map(_) | Value::Nil) => values.next(),
                _ => None,
            };
            found.push(id(&key), content)?;
        }
        Some(found)
    }

    /// `{total_results, results: [{id, extra_attributes: {field: value}}], warning: […]}`.
    fn resp3(entries: Vec<(Value, Value)>, id: &impl Fn(&[u8]) -> Option<String>) -> Option<Self> {
        let mut found = Self::default();
        let mut results = None;
        for (name, value) in entries {
            match text(name)?.as_str() {
                "total_results" => found.total = count(&value)?,
                "results" => results = Some(list(value)?),
                "warning" => found.partial = list(value).is_some_and(|warnings| !warnings.is_empty()),
                _ => {}
            }
        }
        for result in results? {
            let (mut key, mut content) = (None, None);
            for (name, value) in pairs(result)? {
                match text(name)?.as_str() {
                    "id" => key = bytes(value),
                    "extra_attributes" => content = Some(value),
                    _ => {}
                }
            }
            match key {
                Some(key) => found.push(id(&key), content)?,
                // What a search found before its time was over, but had no more time to name.
                None if found.partial => {}
                None => return None,
            }
        }
        Some(found)
    }

    /// The rows of many nodes as if one had them all: the nearest first, rows without distance by id. A module that itself asked every node gave the
    /// same rows many times over; they are there once.
    pub(crate) fn merged(parts: Vec<Self>, offset: usize, limit: usize) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.total += part.total;
            all.partial |= part.partial;
            all.rows.extend(part.rows);
        }
        let before = all.rows.len();
        let mut seen = HashSet::with_capacity(before);
        all.rows.retain(|row| seen.insert(row.id.clone()));
        let distance = |row: &Row| row.distance.unwrap_or(f32::INFINITY);
        all.rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then_with(|| a.id.cmp(&b.id)));
        all.rows = all.rows.into_iter().skip(offset).take(limit).collect();
        all
    }

    fn push(&mut self, id: Option<String>, content: Option<Value>) -> Option<()> {
        let (Some(id), false) = (id, matches!(content, Some(Value::Nil))) else { return Some(()) };
        let mut row = Row { id, distance: None, fields: Vec::new() };
        for (name, value) in content.map_or(Some(Vec::new()), pairs)? {
            let (name, value) = (text(name)?, bytes(value)?);
            if name == DISTANCE {
                row.distance = std::str::from_utf8(&value).ok()?.parse().ok();
            } else {
                row.fields.push((name, value));
            }
        }
        self.rows.push(row);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn read(answer: Value) -> Result<Rows, RedisError> {
        Rows::read(answer, "search", |key| std::str::from_utf8(key).ok()?.strip_prefix("item:").map(str::to_owned))
    }

    #[test]
    fn both_protocols_give_the_same_rows() {
        let fields = vec![text("__distance"), text("0.5"), text("price"), text("9")];
        let resp2 = Value::Array(vec![
            Value::Int(7),
            text("item:a"),
            Value::Array(fields),
            text("other:b"),
            Value::Array(vec![]),
        ]);
        let entry = |name: &str, value: Value| (Value::SimpleString(name.to_owned()), value);
        let fields = Value::Map(vec![(text("__distance"), text("0.5")), (text("price"), text("9"))]);
        let result = Value::Map(vec![entry("id", text("item:a")), entry("extra_attributes", fields)]);
        let resp3 = Value::Map(vec![
            entry("attributes", Value::Array(vec![])),
            entry("total_results", Value::Int(7)),
            entry("warning", Value::Array(vec![])),
            entry("results", Value::Array(vec![result])),
        ]);
        let row = Row { id: "a".to_owned(), distance: Some(0.5), fields: vec![("price".to_owned(), b"9".to_vec())] };
        let expected = Rows { total: 7, rows: vec![row], partial: false };
        assert_eq!(read(resp2).unwrap(), expected);
        assert_eq!(read(resp3).unwrap(), expected);
    }

    #[test]
    fn the_rows_of_many_nodes_are_those_of_one() {
        let row = |id: &str, distance| Row { id: id.to_owned(), distance: Some(distance), fields: vec![] };
        let part = |rows: Vec<Row>| Rows { total: rows.len() as u64, rows, partial: false };
        let parts = vec![part(vec![row("c", 0.3), row("d", 0.5)]), part(vec![row("a", 0.1), row("b", 0.3)])];
        let merged = Rows::merged(parts, 1, 2);
        assert_eq!((merged.total, merged.rows), (4, vec![row("b", 0.3), row("c", 0.3)]));
    }

    #[test]
    fn ids_alone_and_deleted_rows_are_read() {
        let found = read(Value::Array(vec![Value::Int(2), text("item:a"), text("item:b")])).unwrap();
        assert_eq!(found.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let found =
            read(Value::Array(vec![Value::Int(2), text("item:a"), Value::Nil, text("item:b"), Value::Array(vec![])]));
        assert_eq!(found.unwrap().rows.len(), 1);
    }

    #[test]
    fn a_search_that_ran_out_of_time_names_what_it_can() {
        let entry = |name: &str, value: Value| (Value::SimpleString(name.to_owned()), value);
        let rows = vec![
            Value::Map(vec![entry("id", text("item:a")), entry("values", Value::Array(vec![]))]),
            Value::Map(vec![entry("extra_attributes", Value::Map(vec![])), entry("values", Value::Array(vec![]))]),
        ];
        let answer = |warning: Vec<Value>| {
            let results = Value::Array(rows.clone());
            Value::Map(vec![entry("results", results), entry("warning", Value::Array(warning))])
        };
        let found = read(answer(vec![text("Timeout limit was reached")])).unwrap();
        assert_eq!((found.rows.len(), found.partial), (1, true));
        assert!(read(answer(vec![])).is_err());
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(read(Value::Okay).is_err());
        assert!(read(Value::Array(vec![])).is_err());
        assert!(read(Value::Map(vec![])).is_err());
    }
}
