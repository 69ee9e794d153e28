//! A list of ids as a file: `TMIDS\0\0\x01`, the count, the end of each id, then all ids in UTF-8 (numbers are u64,
//! little-endian).

use std::io::{self, BufWriter, Write};
use std::path::Path;

use fs_err as fs;

use crate::ArtifactError;
use crate::error::Doing;

const MAGIC: &[u8; 8] = b"TMIDS\0\0\x01";

/// Writes ids in their order.
///
/// # Errors
/// The file cannot be written.
pub fn write_ids<'a>(path: &Path, ids: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<(), ArtifactError> {
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(fs::File::create(path)?);
        out.write_all(MAGIC)?;
        out.write_all(&(ids.len() as u64).to_le_bytes())?;
        let mut end = 0;
        for id in ids.clone() {
            end += id.len() as u64;
            out.write_all(&end.to_le_bytes())?;
        }
        for id in ids {
            out.write_all(id.as_bytes())?;
        }
        out.flush()
    };
    write().doing("write a list of ids")
}

/// A list of ids in memory, without one allocation per id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdList {
    text: String,
    ends: Vec<u64>,
}

impl IdList {
    /// Reads what [`write_ids`] wrote.
    ///
    /// # Errors
    /// The file cannot be read or is not such a file.
    pub fn read(path: &Path) -> Result<Self, ArtifactError> {
        let content = fs::read(path).doing("read a list of ids")?;
        Self::parse(content).map_err(|reason| ArtifactError::BadFormat {
            path: path.to_owned(),
            format: "list of ids",
            reason: reason.to_owned(),
        })
    }

    fn parse(mut content: Vec<u8>) -> Result<Self, &'static str> {
        let rest = content.strip_prefix(MAGIC).ok_or("it does not start as one")?;
        let (count, rest) = rest.split_first_chunk::<8>().ok_or("it has no count")?;
        let bytes = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(8));
        let (ends, text) = bytes.and_then(|bytes| rest.split_at_checked(bytes)).ok_or("it is cut short")?;
        let ends: Vec<u64> = ends.as_chunks::<8>().0.iter().map(|end| u64::from_le_bytes(*end)).collect();
        if ends.last().copied().unwrap_or(0) != text.len() as u64 || !ends.is_sorted() {
            return Err("the lengths do not add up");
        }
        let start = content.len() - text.len();
        content.drain(..start);
        let text = String::from_utf8(content).map_err(|_| "an id is not UTF-8")?;
        if ends.iter().any(|end| !text.is_char_boundary(*end as usize)) {
            return Err("an id is not UTF-8");
        }
        Ok(Self { text, ends })
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id at `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// The ids in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_come_back_as_written(ids in proptest::collection::vec("\\PC{0,12}", 0..40)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("ids");
            write_ids(&path, ids.iter().map(String::as_str)).unwrap();
            let list = IdList::read(&path).unwrap();
            prop_assert_eq!(list.iter().map(str::to_owned).collect::<Vec<_>>(), ids);
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ids");
        write_ids(&path, ["käse", "b"].into_iter()).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            assert!(IdList::parse(whole[..cut].to_vec()).is_err(), "{cut}");
        }
        let mut huge = whole;
        huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(IdList::parse(huge).is_err());
    }
}
