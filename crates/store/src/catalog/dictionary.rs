//! Distinct tags in the order they came, each with its key: what a dictionary array is made from.

use xxhash_rust::xxh3::xxh3_64;

/// Tags by key and keys by tag. The hash is fast and not secret; dictionaries are of a chunk or of a request's candidates,
/// so tags chosen to collide cost milliseconds at worst.
#[derive(Default)]
pub(super) struct Dictionary<'a> {
    tags: Vec<&'a str>,
    /// Open addressing with linear probing; a key plus one, or zero for an empty slot. At most half full.
    slots: Vec<u32>,
}

impl<'a> Dictionary<'a> {
    /// The key of `tag`, which is added if it is new.
    pub(super) fn key(&mut self, tag: &'a str) -> i32 {
        if (self.tags.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let found = self.slot(tag);
        match self.slots.get_mut(found) {
            Some(slot) if *slot == 0 => {
                self.tags.push(tag);
                *slot = self.tags.len() as u32;
                *slot as i32 - 1
            }
            Some(slot) => *slot as i32 - 1,
            None => 0,
        }
    }

    /// Tags in the order of their keys.
    pub(super) fn into_tags(self) -> Vec<&'a str> {
        self.tags
    }

    /// The slot that holds `tag`, or the empty one where it belongs. There is always an empty one.
    fn slot(&self, tag: &str) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = xxh3_64(tag.as_bytes()) as usize & mask;
        while let Some(key) = self.slots.get(at).filter(|slot| **slot != 0) {
            if self.tags.get(*key as usize - 1).is_some_and(|known| *known == tag) {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(64)];
        for key in 0..self.tags.len() {
            let Some(tag) = self.tags.get(key) else { continue };
            let at = self.slot(tag);
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = key as u32 + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_has_one_key_through_growth() {
        let tags: Vec<String> = (0..3_000).map(|n| format!("tag {}", n % 1_000)).collect();
        let mut dictionary = Dictionary::default();
        for (n, tag) in tags.iter().enumerate() {
            assert_eq!(dictionary.key(tag), n as i32 % 1_000);
        }
        let distinct: Vec<&str> = tags.iter().take(1_000).map(String::as_str).collect();
        assert_eq!(dictionary.into_tags(), distinct);
    }
}
