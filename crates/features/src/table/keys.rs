//! Keys of entities: one text, or two for a pair.

use arrow_array::{Array, StringArray};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The keys of a run of rows: one column, or two; all of one length.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    first: StringArray,
    second: Option<StringArray>,
}

/// The key of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    first: &'a str,
    second: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Of one entity, or of a pair.
    pub(crate) fn new(first: &'a str, second: Option<&'a str>) -> Self {
        Self { first, second }
    }

    /// Its first part.
    pub(crate) fn first(&self) -> &'a str {
        self.first
    }

    /// The same on every machine and in every run: chunks of a resumed materialisation depend on it.
    pub(crate) fn hash(&self) -> u64 {
        let first = xxh3_64(self.first.as_bytes());
        self.second.map_or(first, |second| xxh3_64_with_seed(second.as_bytes(), first))
    }
}

impl Keys {
    pub(crate) fn new(mut columns: Vec<StringArray>) -> Option<Self> {
        let last = columns.pop()?;
        match (columns.pop(), columns.is_empty()) {
            (None, _) => Some(Self { first: last, second: None }),
            (Some(first), true) if first.len() == last.len() => Some(Self { first, second: Some(last) }),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    pub(crate) fn columns(&self) -> usize {
        1 + usize::from(self.second.is_some())
    }

    /// `None` if a part of the key is null.
    pub(crate) fn get(&self, row: usize) -> Option<Key<'_>> {
        let first = self.first.is_valid(row).then(|| self.first.value(row))?;
        match &self.second {
            None => Some(Key { first, second: None }),
            Some(second) => second.is_valid(row).then(|| Key { first, second: Some(second.value(row)) }),
        }
    }
}

/// A key of its own, for maps that outlive the batch it came in.
#[derive(Debug)]
pub(crate) struct OwnedKey {
    text: Box<str>,
    /// Where the second part begins.
    split: Option<u32>,
}

impl From<Key<'_>> for OwnedKey {
    fn from(key: Key<'_>) -> Self {
        match key.second {
            None => Self { text: key.first.into(), split: None },
            Some(second) => {
                let split = u32::try_from(key.first.len()).unwrap_or(u32::MAX);
                Self { text: [key.first, second].concat().into(), split: Some(split) }
            }
        }
    }
}

impl OwnedKey {
    pub(crate) fn get(&self) -> Key<'_> {
        match self.split.and_then(|at| self.text.split_at_checked(at as usize)) {
            None => Key { first: &self.text, second: None },
            Some((first, second)) => Key { first, second: Some(second) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_not_confused_with_their_concatenation() {
        let keys = Keys::new(vec![StringArray::from(vec!["ab", "a"]), StringArray::from(vec!["c", "bc"])]).unwrap();
        let (one, other) = (keys.get(0).unwrap(), keys.get(1).unwrap());
        assert_ne!(one, other);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(OwnedKey::from(one).get(), one);
        assert_ne!(OwnedKey::from(one).get(), other);
    }

    #[test]
    fn a_key_with_a_null_part_is_none() {
        let keys = Keys::new(vec![StringArray::from(vec!["a"]), StringArray::from(vec![None::<&str>])]).unwrap();
        assert_eq!(keys.get(0), None);
    }
}
