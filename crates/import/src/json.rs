//! Rows of JSON lines: one object a line, each naming its own columns.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::ImportError;
use crate::lines::{LineStep, Lines};
use crate::row::{Cell, Row, Rows, Step};

/// The most names of columns in one file; more are passed over.
const MAX_COLUMNS: usize = 4_096;

pub(crate) struct JsonRows {
    lines: Lines,
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl JsonRows {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, names: Vec::new(), places: HashMap::new() }
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.names.len() == MAX_COLUMNS {
            return None;
        }
        self.places.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        Some(self.names.len() - 1)
    }
}

impl Rows for JsonRows {
    fn next(&mut self) -> Result<Step<'_>, ImportError> {
        match self.lines.next(None)? {
            LineStep::Line => {}
            LineStep::Refused(refusal) => return Ok(Step::Refused(refusal)),
            LineStep::End => return Ok(Step::End),
        }
        let line = self.lines.line();
        let bytes = line.len();
        if std::str::from_utf8(line).is_err() {
            return Ok(Step::Refused(self.lines.refused("not UTF-8", "the row is not valid UTF-8".to_owned())));
        }
        let object: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(object) => object,
            Err(error) => {
                let reason = format!("the row is not one JSON object: {error}");
                return Ok(Step::Refused(self.lines.refused("not JSON", reason)));
            }
        };
        let mut cells = vec![Cell::Empty; self.names.len()];
        for (name, value) in object {
            if let Some(place) = self.place(&name) {
                cells.resize(self.names.len(), Cell::Empty);
                if let Some(cell) = cells.get_mut(place) {
                    *cell = Cell::json(value);
                }
            }
        }
        Ok(Step::Row(Row { line: self.lines.number(), bytes, columns: &self.names, cells }))
    }

    fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }
}
