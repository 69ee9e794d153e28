//! Which column of a file is which of ours: by the project's mapping, else by well-known names.

use std::path::Path;

use tastemaker_types::did_you_mean;

use crate::ImportError;
use crate::coerce::Mistake;
use crate::row::{Cell, Row};

/// A column of ours, and how to find it in a file.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// What it holds, in a sentence: "the user's id".
    pub(crate) what: String,
    /// Its key under `[import]`: `events.columns.user`.
    pub(crate) key: String,
    /// The file's name for it, if the project says.
    pub(crate) mapped: Option<String>,
    /// Names that are known without being said, the likeliest first, in the form of [`fold`].
    pub(crate) aliases: Vec<String>,
    /// Whether no row can do without.
    pub(crate) required: bool,
}

/// Case, `_`, `-` and spaces do not matter between well-known names: `userId` is `user_id`.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.')).flat_map(char::to_lowercase).collect()
}

/// The slots, and the columns of the file that fill them.
#[derive(Debug)]
pub(crate) struct Columns {
    slots: Vec<Slot>,
    names: Vec<String>,
    /// For each column of the file, its slot.
    slot_of: Vec<Option<usize>>,
    /// For each slot, its column.
    column_of: Vec<Option<usize>>,
}

impl Columns {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        let column_of = vec![None; slots.len()];
        Self { slots, names: Vec::new(), slot_of: Vec::new(), column_of }
    }

    /// Learns the columns of the file. A JSON file shows more with every row.
    pub(crate) fn learn(&mut self, names: &[String]) {
        if names.len() == self.names.len() {
            return;
        }
        names.clone_into(&mut self.names);
        self.slot_of = vec![None; names.len()];
        self.column_of = vec![None; self.slots.len()];
        let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(mapped) = &slot.mapped {
                let column = names.iter().position(|name| name == mapped);
                self.column_of[index] = column;
                if let Some(column) = column {
                    self.slot_of[column] = Some(index);
                }
            }
        }
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.mapped.is_none()) {
            let free = |alias: &String| {
                folded.iter().enumerate().position(|(column, name)| name == alias && self.slot_of[column].is_none())
            };
            if let Some(column) = slot.aliases.iter().find_map(free) {
                self.column_of[index] = Some(column);
                self.slot_of[column] = Some(index);
            }
        }
    }

    /// Checks that every required column, and every column that the project maps, is there.
    pub(crate) fn require(&self, path: &Path) -> Result<(), ImportError> {
        let missing = |(index, slot): &(usize, &Slot)| {
            (slot.required || slot.mapped.is_some()) && self.column_of.get(*index).copied().flatten().is_none()
        };
        let Some((_, slot)) = self.slots.iter().enumerate().find(missing) else { return Ok(()) };
        let names = || self.names.iter().map(String::as_str);
        let (what, hint) = match &slot.mapped {
            Some(mapped) => {
                (format!("{}, which import.{} names '{mapped}'", slot.what, slot.key), did_you_mean(mapped, names()))
            }
            None => (slot.what.clone(), String::new()),
        };
        let hint = if hint.starts_with("; did") { hint } else { String::new() };
        let columns = names().collect::<Vec<_>>().join(", ");
        Err(ImportError::Column { path: path.to_owned(), what, hint, columns, key: slot.key.clone() })
    }

    /// Whether a column of this name would be used.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let folded = fold(name);
        self.slots.iter().any(|slot| match &slot.mapped {
            Some(mapped) => mapped == name,
            None => slot.aliases.contains(&folded),
        })
    }

    /// The places (`1`, `2` …) that the project maps columns to, if it does so.
    pub(crate) fn mapped_by_place(&self) -> bool {
        let mapped: Vec<&String> = self.slots.iter().filter_map(|slot| slot.mapped.as_ref()).collect();
        !mapped.is_empty() && mapped.iter().all(|name| name.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The file's name for a slot, or ours if the file has none.
    pub(crate) fn name(&self, slot: usize) -> &str {
        let column = self.column_of.get(slot).copied().flatten();
        column.and_then(|column| self.names.get(column)).map_or_else(|| self.slots[slot].key.as_str(), String::as_str)
    }

    /// Whether the file has a column for the slot.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.column_of.get(slot).copied().flatten().is_some()
    }

    /// A row has nothing where it needs something.
    pub(crate) fn missing(&self, slot: usize) -> (Option<usize>, Mistake) {
        let Some(known) = self.slots.get(slot).filter(|_| !self.has(slot)) else {
            return (Some(slot), Mistake::new("empty", "nothing is given"));
        };
        let reason = format!(
            "nothing gives {}; name it as one of the well-known names, or map it with import.{}",
            known.what, known.key
        );
        (None, Mistake::new("missing", reason))
    }

    /// Columns of the file that nothing uses.
    pub(crate) fn unused(&self) -> Vec<&str> {
        let unused = self.names.iter().zip(&self.slot_of).filter(|(_, slot)| slot.is_none());
        unused.map(|(name, _)| name.as_str()).collect()
    }

    /// For each column of the file, whether it is used.
    pub(crate) fn used(&self) -> Vec<bool> {
        self.slot_of.iter().map(Option::is_some).collect()
    }

    /// The cells of a row by slot.
    pub(crate) fn sort<'a>(&self, row: Row<'a>) -> Vec<Cell<'a>> {
        let mut cells = vec![Cell::Empty; self.slots.len()];
        for (slot, cell) in self.slot_of.iter().zip(row.cells) {
            if let Some(target) = slot.and_then(|slot| cells.get_mut(slot)) {
                *target = cell;
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &str, mapped: Option<&str>, aliases: &[&str]) -> Slot {
        Slot {
            what: format!("the {key}"),
            key: key.to_owned(),
            mapped: mapped.map(str::to_owned),
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            required: true,
        }
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_mapping_comes_first_and_the_likeliest_name_next() {
        let mut columns =
            Columns::new(vec![slot("user", Some("who"), &["user"]), slot("item", None, &["itemid", "movieid"])]);
        columns.learn(&names(&["user", "movieId", "Item_ID", "who"]));
        assert_eq!((columns.name(0), columns.name(1)), ("who", "Item_ID"));
        assert_eq!(columns.unused(), ["user", "movieId"]);
    }

    #[test]
    fn a_missing_column_is_named_with_what_there_is() {
        let mut columns = Columns::new(vec![slot("events.columns.user", Some("costumer"), &[])]);
        columns.learn(&names(&["customer", "sku"]));
        assert_eq!(
            columns.require(Path::new("x.csv")).unwrap_err().to_string(),
            "x.csv has no column for the events.columns.user, which import.events.columns.user names 'costumer'; did you mean \
             'customer'?; its columns are: customer, sku. Name it with --set import.events.columns.user=COLUMN"
        );
    }
}
