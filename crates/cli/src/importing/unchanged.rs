//! The items (or users) as the log has them, to leave out upserts that would change nothing: importing a file of items
//! twice writes it once.

use std::collections::HashMap;

use tastemaker_log::{LogError, LogReader};
use tastemaker_types::{Attributes, EntityUpsert, Position, Record, UpsertMode};

/// Attributes by id.
#[derive(Debug, Default)]
pub(crate) struct Unchanged {
    items: HashMap<String, Attributes>,
    users: HashMap<String, Attributes>,
}

impl Unchanged {
    /// Reads the whole log.
    pub(crate) fn read(log: &LogReader) -> Result<Self, LogError> {
        let mut state = Self::default();
        for record in log.read_from(Position(0)) {
            match record?.1 {
                Record::ItemDelete { id, .. } => drop(state.items.remove(&id)),
                Record::UserDelete { id, .. } => drop(state.users.remove(&id)),
                record => drop(state.changes(&record)),
            }
        }
        Ok(state)
    }

    /// Whether the record would change anything; from then on it is taken to be written.
    pub(crate) fn changes(&mut self, record: &Record) -> bool {
        match record {
            Record::ItemUpsert(upsert) => apply(&mut self.items, upsert),
            Record::UserUpsert(upsert) => apply(&mut self.users, upsert),
            _ => true,
        }
    }
}

fn apply(entities: &mut HashMap<String, Attributes>, upsert: &EntityUpsert) -> bool {
    let Some(known) = entities.get_mut(&upsert.id) else {
        entities.insert(upsert.id.clone(), upsert.attributes.clone());
        return true;
    };
    match upsert.mode {
        UpsertMode::Replace if *known == upsert.attributes => false,
        UpsertMode::Replace => {
            known.clone_from(&upsert.attributes);
            true
        }
        UpsertMode::Merge => {
            let mut changed = false;
            for (name, value) in &upsert.attributes {
                if known.get(name) != Some(value) {
                    known.insert(name.clone(), value.clone());
                    changed = true;
                }
            }
            changed
        }
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_types::{Timestamp, Value};

    use super::*;

    fn upsert(id: &str, attributes: &[(&str, f64)], mode: UpsertMode) -> Record {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value))).collect();
        Record::ItemUpsert(EntityUpsert { id: id.to_owned(), attributes, mode, timestamp: Timestamp::EPOCH })
    }

    #[test]
    fn only_what_differs_is_a_change() {
        use UpsertMode::{Merge, Replace};
        let mut state = Unchanged::default();
        let steps = [
            (upsert("a", &[("price", 1.0), ("size", 2.0)], Merge), true),
            (upsert("a", &[("price", 1.0)], Merge), false),
            (upsert("a", &[("price", 3.0)], Merge), true),
            (upsert("a", &[("price", 3.0), ("size", 2.0)], Replace), false),
            (upsert("a", &[("price", 3.0)], Replace), true),
            (upsert("a", &[("size", 2.0)], Merge), true),
            (upsert("b", &[], Merge), true),
            (upsert("b", &[], Merge), false),
        ];
        for (at, (record, changes)) in steps.iter().enumerate() {
            assert_eq!(state.changes(record), *changes, "step {at}");
        }
    }
}
