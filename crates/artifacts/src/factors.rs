//! A matrix of f32 as a file that is used where it lies (mmap): a header of 64 bytes (`TMF32\0\0\x01`, rows and dim as
//! u64, zeros), then the values row by row, all little-endian.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use memmap2::Mmap;

use crate::ArtifactError;
use crate::error::Doing;

#[cfg(target_endian = "big")]
compile_error!("factor files are mapped as little-endian floats");

const MAGIC: &[u8; 8] = b"TMF32\0\0\x01";
const HEADER: usize = 64;

/// Writes a matrix row by row; the row count is filled in at the end.
#[derive(Debug)]
pub struct FactorWriter {
    out: BufWriter<fs::File>,
    dim: usize,
    rows: u64,
}

impl FactorWriter {
    /// Starts a matrix of rows of `dim` values.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, dim: usize) -> Result<Self, ArtifactError> {
        let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(path).doing("write factors")?);
        out.write_all(&[0; HEADER]).doing("write factors")?;
        Ok(Self { out, dim, rows: 0 })
    }

    /// Adds whole rows.
    ///
    /// # Errors
    /// The values are no whole rows, or cannot be written.
    pub fn push(&mut self, values: &[f32]) -> Result<(), ArtifactError> {
        if self.dim == 0 || !values.len().is_multiple_of(self.dim) {
            return Err(ArtifactError::Shape { values: values.len(), dim: self.dim });
        }
        self.rows += (values.len() / self.dim) as u64;
        self.out.write_all(bytemuck::cast_slice(values)).doing("write factors")
    }

    /// Completes the header.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), ArtifactError> {
        let finish = || -> io::Result<()> {
            use std::io::{Seek, SeekFrom};
            let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(MAGIC)?;
            file.write_all(&self.rows.to_le_bytes())?;
            file.write_all(&(self.dim as u64).to_le_bytes())
        };
        finish().doing("write factors")
    }
}

/// Writes a row-major matrix with rows of `dim` values.
///
/// # Errors
/// The values are no whole rows, or cannot be written.
pub fn write_factors(path: &Path, dim: usize, values: &[f32]) -> Result<(), ArtifactError> {
    let mut writer = FactorWriter::create(path, dim)?;
    writer.push(values)?;
    writer.finish()
}

/// A mapped matrix: rows × dim values, row-major.
#[derive(Debug)]
pub struct FactorFile {
    map: Mmap,
    rows: usize,
    dim: usize,
}

impl FactorFile {
    /// Maps what [`write_factors`] wrote.
    ///
    /// # Errors
    /// The file cannot be mapped, or is not such a file.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        let file = fs::File::open(path).doing("open factors")?;
        // SAFETY: files of a generation are written before it is published and never changed afterwards; deleting one
        // unlinks it, which leaves the mapping whole.
        let map = unsafe { Mmap::map(file.file()) }.doing("map factors")?;
        let bad = |reason: &str| ArtifactError::BadFormat {
            path: PathBuf::from(path),
            format: "matrix of factors",
            reason: reason.to_owned(),
        };
        let header =
            map.get(..HEADER).filter(|header| header.starts_with(MAGIC)).ok_or(bad("it does not start as one"))?;
        let number = |at: usize| {
            let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
            bytes.and_then(|number| usize::try_from(number).ok())
        };
        let (rows, dim) = number(8).zip(number(16)).ok_or(bad("its shape is out of range"))?;
        let bytes = rows.checked_mul(dim).and_then(|values| values.checked_mul(4)).and_then(|b| b.checked_add(HEADER));
        if bytes != Some(map.len()) {
            return Err(bad(&format!("{rows} × {dim} values do not make {} bytes", map.len())));
        }
        Ok(Self { map, rows, dim })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        // The mapping starts at a page and the header is 64 bytes, so the values are aligned.
        bytemuck::cast_slice(&self.map[HEADER..])
    }

    /// The values of one row.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.dim)?;
        self.values().get(start..start.checked_add(self.dim)?)
    }

    /// The first row that holds NaN or an infinity.
    pub fn first_non_finite_row(&self) -> Option<usize> {
        self.values().iter().position(|value| !value.is_finite()).map(|at| at / self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_come_back_as_written_and_nan_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_factors(&path, 3, &[1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]).unwrap();
        let file = FactorFile::open(&path).unwrap();
        assert_eq!((file.rows(), file.dim()), (2, 3));
        assert_eq!(file.row(0), Some(&[1.0, 2.0, 3.0][..]));
        assert_eq!(file.row(2), None);
        assert_eq!(file.first_non_finite_row(), Some(1));
    }

    #[test]
    fn a_cut_or_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_factors(&path, 2, &[1.0; 8]).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in [1, 8, 63, 64, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(FactorFile::open(&path), Err(ArtifactError::BadFormat { .. })), "{cut}");
        }
        assert!(matches!(write_factors(&path, 3, &[1.0; 8]), Err(ArtifactError::Shape { values: 8, dim: 3 })));
    }
}
