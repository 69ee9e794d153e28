//! A fixed-length set of row numbers with a cached count: what filters evaluate to and what retrieval is filtered by. Set algebra and
//! iteration only; which rows pass a filter is decided by the catalog.

/// A set of rows `0..len` as one bit each.
///
/// Rows at or past `len` are never members: adding one has no effect. Operands of the set operations may differ in length (the catalog
/// grows while requests hold older snapshots); the result is as long as the longer one.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// Bits past `len` in the last word are zero: counts and comparisons rely on it.
    words: Vec<u64>,
    len: usize,
    count: usize,
}

impl Bitmap {
    /// The empty set over rows `0..len`.
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len, count: 0 }
    }

    /// All rows `0..len`.
    pub fn full(len: usize) -> Self {
        Self::from_words(vec![u64::MAX; len.div_ceil(64)], len)
    }

    /// The set whose row `r` is bit `r % 64` of word `r / 64`. Missing words count as zero; bits at or past `len` are cleared.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last &= (1 << (len % 64)) - 1;
        }
        let count = count_ones(&words);
        Self { words, len, count }
    }

    /// The set of the given rows; rows at or past `len` are left out.
    pub fn from_rows(len: usize, rows: impl IntoIterator<Item = u32>) -> Self {
        let mut bitmap = Self::new(len);
        for row in rows {
            bitmap.insert(row);
        }
        bitmap
    }

    /// One past the largest row that can be a member.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no row is a member.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of members; cached, so it costs nothing.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether `row` is a member.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds `row`; whether it was added, being in range and not a member before.
    #[inline]
    pub fn insert(&mut self, row: u32) -> bool {
        if row as usize >= self.len {
            return false;
        }
        let Some(word) = self.words.get_mut(row as usize / 64) else { return false };
        let added = *word >> (row % 64) & 1 == 0;
        *word |= 1 << (row % 64);
        self.count += usize::from(added);
        added
    }

    /// Removes `row`; whether it was a member.
    pub fn remove(&mut self, row: u32) -> bool {
        let Some(word) = self.words.get_mut(row as usize / 64) else { return false };
        let removed = *word >> (row % 64) & 1 == 1;
        *word &= !(1 << (row % 64));
        self.count -= usize::from(removed);
        removed
    }

    /// Members of both.
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Members of either.
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// Members of `self` that are not members of `other`.
    pub fn and_not(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// Members in increasing order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| Ones { word, base: (index * 64) as u32 })
    }

    /// The bits, 64 rows a word, lowest row in the lowest bit; bits past the length are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        let shared = self.words.len().min(other.words.len());
        let mut words = Vec::with_capacity(self.words.len().max(other.words.len()));
        words.extend(self.words.iter().zip(&other.words).map(|(&a, &b)| operation(a, b)));
        words.extend(self.words.iter().skip(shared).map(|&a| operation(a, 0)));
        words.extend(other.words.iter().skip(shared).map(|&b| operation(0, b)));
        let count = count_ones(&words);
        Self { words, len: self.len.max(other.len), count }
    }
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitmap({} of {})", self.count, self.len)
    }
}

/// The set bits of one word, as rows.
struct Ones {
    word: u64,
    base: u32,
}

impl Iterator for Ones {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.word == 0 {
            return None;
        }
        let row = self.base + self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(row)
    }
}

fn count_ones(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = (usize, BTreeSet<u32>)> {
        (0usize..300).prop_flat_map(|len| {
            let members = proptest::collection::btree_set(0..len.max(1) as u32, 0..=len);
            (Just(len), members.prop_map(move |set| set.into_iter().filter(|&row| (row as usize) < len).collect()))
        })
    }

    fn agrees(bitmap: &Bitmap, set: &BTreeSet<u32>) {
        assert_eq!(bitmap.count(), set.len());
        assert_eq!(bitmap.is_empty(), set.is_empty());
        assert!(bitmap.iter().eq(set.iter().copied()));
        for row in 0..bitmap.len() as u32 + 70 {
            assert_eq!(bitmap.contains(row), set.contains(&row), "row {row}");
        }
        assert_eq!(bitmap, &Bitmap::from_words(bitmap.words().to_vec(), bitmap.len()));
    }

    proptest! {
        #[test]
        fn set_algebra_agrees_with_a_plain_set((len_a, a) in rows(), (len_b, b) in rows()) {
            let (x, y) = (Bitmap::from_rows(len_a, a.iter().copied()), Bitmap::from_rows(len_b, b.iter().copied()));
            agrees(&x, &a);
            agrees(&x.and(&y), &a.intersection(&b).copied().collect());
            agrees(&x.or(&y), &a.union(&b).copied().collect());
            agrees(&x.and_not(&y), &a.difference(&b).copied().collect());
        }

        #[test]
        fn inserts_and_removes_agree_with_a_plain_set(steps in proptest::collection::vec((any::<bool>(), 0u32..200), 0..400)) {
            let (mut bitmap, mut set) = (Bitmap::new(150), BTreeSet::new());
            for (add, row) in steps {
                if add {
                    prop_assert_eq!(bitmap.insert(row), row < 150 && set.insert(row));
                } else {
                    prop_assert_eq!(bitmap.remove(row), set.remove(&row));
                }
            }
            agrees(&bitmap, &set);
        }
    }

    #[test]
    fn a_full_bitmap_ends_at_its_length() {
        for len in [0, 1, 63, 64, 65, 130] {
            agrees(&Bitmap::full(len), &(0..len as u32).collect());
        }
    }
}
