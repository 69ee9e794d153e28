//! The file of an index: a header with a table of checksummed sections, each starting on a page so that it can be mapped. Which arrays the
//! sections hold is up to the caller; here are framing, atomic replacement, and the refusal of damaged files.
//!
//! Layout (little-endian): magic, format version, dimension, nodes, number of sections, then per section its kind, offset, bytes and XXH3
//! checksum, then the XXH3 of all of that; padded to a page. Sections follow in the order of the table.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use xxhash_rust::xxh3::xxh3_64;

use super::{IndexError, MAX_DIM};

#[cfg(target_endian = "big")]
compile_error!("index files are little-endian and mapped into memory as they are");

const MAGIC: &[u8; 8] = b"TMVECTOR";
const VERSION: u32 = 1;
const PAGE: usize = 4096;
/// Bytes before the section table: magic, version, dimension, nodes, sections, a zero.
const FIXED: usize = 32;
const ENTRY: usize = 32;
const MAX_SECTIONS: usize = (PAGE - FIXED - 8) / ENTRY;

/// Writes a file of the given sections, beside `path` first.
pub(crate) fn write(path: &Path, dim: usize, nodes: usize, sections: &[(u32, &[u8])]) -> Result<(), IndexError> {
    let failed = |action| move |source| IndexError::Io { action, path: path.to_owned(), source };
    let mut header = Vec::with_capacity(PAGE);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(dim as u32).to_le_bytes());
    header.extend_from_slice(&(nodes as u64).to_le_bytes());
    header.extend_from_slice(&(sections.len() as u64).to_le_bytes());
    let mut offset = PAGE;
    for (kind, bytes) in sections {
        for field in [u64::from(*kind), offset as u64, bytes.len() as u64, xxh3_64(bytes)] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        offset += bytes.len().next_multiple_of(PAGE);
    }
    let checksum = xxh3_64(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    header.resize(PAGE, 0);

    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = fs_err::File::create(&partial).map_err(failed("create"))?;
    file.write_all(&header).map_err(failed("write"))?;
    for (_, bytes) in sections {
        file.write_all(bytes).map_err(failed("write"))?;
        let padding = bytes.len().next_multiple_of(PAGE) - bytes.len();
        file.write_all(&[0; PAGE][..padding]).map_err(failed("write"))?;
    }
    file.sync_all().map_err(failed("write"))?;
    fs_err::rename(&partial, path).map_err(failed("replace"))
}

/// A file whose header and checksums were found right.
pub(crate) struct IndexFile {
    path: PathBuf,
    map: Mmap,
    pub(crate) dim: usize,
    pub(crate) nodes: usize,
    /// Kind, offset and bytes of each section, inside of the map.
    sections: Vec<(u32, usize, usize)>,
}

impl IndexFile {
    /// Maps the file at `path` and checks it from end to end.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let failed = |action| move |source| IndexError::Io { action, path: path.to_owned(), source };
        let file = fs_err::File::open(path).map_err(failed("open"))?;
        if file.metadata().map_err(failed("open"))?.len() < PAGE as u64 {
            return Err(IndexError::NotAnIndex { path: path.to_owned() });
        }
        // SAFETY: index files are written beside their name, renamed into place and never changed after; what a search walks through is
        // copied out of the map, and of the floats that stay in it any bit pattern is valid.
        let map = unsafe { Mmap::map(file.file()) }.map_err(failed("map"))?;
        let (dim, nodes, sections) = parse(path, &map)?;
        Ok(Self { path: path.to_owned(), map, dim, nodes, sections })
    }

    /// The values of the section `kind`.
    pub(crate) fn values<T: bytemuck::Pod>(&self, kind: u32) -> Result<&[T], IndexError> {
        let bytes = self.bytes(kind).and_then(|(offset, bytes)| self.map.get(offset..offset + bytes));
        let values = bytes.and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
        values.ok_or_else(|| self.corrupt(format!("section {kind} is missing or not whole")))
    }

    /// The values of the section `kind`, which must be `len` of them.
    pub(crate) fn section<T: bytemuck::Pod>(&self, kind: u32, len: usize) -> Result<&[T], IndexError> {
        let values = self.values(kind)?;
        if values.len() != len {
            return Err(self.corrupt(format!("section {kind} holds {} values instead of {len}", values.len())));
        }
        Ok(values)
    }

    /// The map itself and where in it the section `kind` begins, for values that stay in the file.
    pub(crate) fn into_map(self, kind: u32) -> Result<(Mmap, usize), IndexError> {
        match self.bytes(kind) {
            Some((offset, _)) => Ok((self.map, offset)),
            None => Err(self.corrupt(format!("section {kind} is missing"))),
        }
    }

    pub(crate) fn corrupt(&self, reason: impl Into<String>) -> IndexError {
        IndexError::Corrupt { path: self.path.clone(), reason: reason.into() }
    }

    fn bytes(&self, kind: u32) -> Option<(usize, usize)> {
        self.sections.iter().find(|section| section.0 == kind).map(|&(_, offset, bytes)| (offset, bytes))
    }
}

type Parsed = (usize, usize, Vec<(u32, usize, usize)>);

fn parse(path: &Path, map: &[u8]) -> Result<Parsed, IndexError> {
    let corrupt = |reason: &str| IndexError::Corrupt { path: path.to_owned(), reason: reason.to_owned() };
    if !map.starts_with(MAGIC) {
        return Err(IndexError::NotAnIndex { path: path.to_owned() });
    }
    let found = u32_at(map, 8);
    if found != VERSION {
        return Err(IndexError::Version { path: path.to_owned(), found, supported: VERSION });
    }
    let (dim, nodes, count) = (u32_at(map, 12) as usize, u64_at(map, 16), u64_at(map, 24));
    if count > MAX_SECTIONS as u64 {
        return Err(corrupt("too many sections"));
    }
    let table_end = FIXED + count as usize * ENTRY;
    if map.get(..table_end).map(xxh3_64) != Some(u64_at(map, table_end)) {
        return Err(corrupt("the header's checksum does not match"));
    }
    if !(1..=MAX_DIM).contains(&dim) || nodes >= u64::from(u32::MAX) {
        return Err(corrupt("impossible dimension or size"));
    }
    let mut sections = Vec::new();
    for entry in 0..count as usize {
        let field = |index: usize| u64_at(map, FIXED + entry * ENTRY + index * 8);
        let (kind, offset, bytes) = (field(0), field(1), field(2));
        let part =
            usize::try_from(offset).ok().zip(offset.checked_add(bytes).and_then(|end| usize::try_from(end).ok()));
        let part = part.and_then(|(start, end)| map.get(start..end).map(|part| (start, part)));
        let Some((start, part)) = part.filter(|(start, _)| start.is_multiple_of(PAGE)) else {
            return Err(corrupt("the file is cut short"));
        };
        if xxh3_64(part) != field(3) {
            return Err(corrupt(&format!("the checksum of section {kind} does not match")));
        }
        sections.push((kind as u32, start, part.len()));
    }
    Ok((dim, nodes as usize, sections))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u64::from_le_bytes(*field))
}
