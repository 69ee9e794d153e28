//! A dense row-major `f32` matrix, owned or borrowed from the bytes of a file, and that file's format: a 64-byte
//! header followed by the rows, little-endian, so that a mapped file is used in place.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 0..8 | magic `TMMATF32` |
//! | 8..12 | format version, u32 LE (1) |
//! | 12..16 | columns, u32 LE |
//! | 16..24 | rows, u64 LE |
//! | 24..64 | zero |
//! | 64.. | rows × columns f32 LE |

use std::io::Write;
use std::sync::Arc;

use crate::error::ModelError;

#[cfg(target_endian = "big")]
compile_error!("matrix files are read in place and hold little-endian floats");

const MAGIC: &[u8; 8] = b"TMMATF32";
const VERSION: u32 = 1;

/// Length of a matrix file's header; rows start here, on a 64-byte boundary of the file.
pub const MATRIX_HEADER_LEN: usize = 64;

/// Shared bytes that a matrix can be read from in place, such as a memory-mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone)]
enum Storage {
    Owned(Vec<f32>),
    Bytes(SharedBytes),
}

/// A dense row-major matrix of `f32`; cloning an owned one copies it, cloning a borrowed one does not.
#[derive(Clone)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, storage: Storage::Owned(vec![0.0; rows * cols]) }
    }

    /// Takes `rows * cols` values in row-major order.
    pub fn from_vec(rows: usize, cols: usize, values: Vec<f32>) -> Result<Self, ModelError> {
        if values.len() != rows * cols {
            return Err(ModelError::Shape { what: "matrix data length", expected: rows * cols, found: values.len() });
        }
        Ok(Self { rows, cols, storage: Storage::Owned(values) })
    }

    /// Reads a matrix file in place after checking its header, its length, its alignment and that every value is
    /// finite. Bytes that are not 4-byte aligned (a mapped file always is) are copied.
    pub fn from_bytes(bytes: SharedBytes) -> Result<Self, ModelError> {
        let (rows, cols) = parse_header((*bytes).as_ref())?;
        let body = (*bytes).as_ref().get(MATRIX_HEADER_LEN..).unwrap_or_default();
        let storage = match bytemuck::try_cast_slice::<u8, f32>(body) {
            Ok(_) => Storage::Bytes(bytes),
            Err(_) => Storage::Owned(body.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        };
        let matrix = Self { rows, cols, storage };
        matrix.check_finite("matrix file")?;
        Ok(matrix)
    }

    /// Writes the file format of the module's table.
    pub fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut header = [0u8; MATRIX_HEADER_LEN];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(self.cols as u32).to_le_bytes());
        header[16..24].copy_from_slice(&(self.rows as u64).to_le_bytes());
        out.write_all(&header)?;
        out.write_all(bytemuck::cast_slice(self.as_slice()))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (the rank, for factors).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row-major.
    pub fn as_slice(&self) -> &[f32] {
        match &self.storage {
            Storage::Owned(values) => values,
            Storage::Bytes(bytes) => {
                let body = (**bytes).as_ref().get(MATRIX_HEADER_LEN..).unwrap_or_default();
                bytemuck::try_cast_slice(body).unwrap_or_default()
            }
        }
    }

    /// All values, row-major, for writing; a borrowed matrix becomes an owned one first.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        if let Storage::Bytes(_) = &self.storage {
            self.storage = Storage::Owned(self.as_slice().to_vec());
        }
        match &mut self.storage {
            Storage::Owned(values) => values,
            Storage::Bytes(_) => &mut [],
        }
    }

    /// One row, or `None` past the end.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.cols)?;
        self.as_slice().get(start..start + self.cols)
    }

    /// One row.
    ///
    /// # Panics
    /// If `row >= self.rows()`; [`Matrix::get`] does not.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.cols..(row + 1) * self.cols]
    }

    /// Fails with the first row that holds NaN or an infinity.
    pub fn check_finite(&self, what: &'static str) -> Result<(), ModelError> {
        // A sum of `v * 0` is 0 when all values are finite and NaN otherwise: one pass with no branch.
        let finite = |values: &[f32]| values.iter().fold(0.0f32, |sum, v| sum + v * 0.0) == 0.0;
        let per_block = (1 << 16) / self.cols.max(1) + 1;
        for (block, values) in self.as_slice().chunks(per_block * self.cols.max(1)).enumerate() {
            if !finite(values) {
                let within = values.chunks(self.cols.max(1)).position(|row| !finite(row)).unwrap_or(0);
                return Err(ModelError::NotFinite { what, row: block * per_block + within });
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} × {})", self.rows, self.cols)
    }
}

impl PartialEq for Matrix {
    fn eq(&self, other: &Self) -> bool {
        (self.rows, self.cols) == (other.rows, other.cols) && self.as_slice() == other.as_slice()
    }
}

fn parse_header(bytes: &[u8]) -> Result<(usize, usize), ModelError> {
    let bad = |reason: String| ModelError::Format { what: "matrix file", reason };
    let Some((header, body)) = bytes.split_first_chunk::<MATRIX_HEADER_LEN>() else {
        return Err(bad(format!("{} bytes are fewer than its header's {MATRIX_HEADER_LEN}", bytes.len())));
    };
    if !header.starts_with(MAGIC) {
        return Err(bad("it does not start with TMMATF32".to_owned()));
    }
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let version = u32_at(8);
    if version != VERSION {
        return Err(bad(format!("its format version is {version}; this build reads {VERSION}")));
    }
    let cols = u64::from(u32_at(12));
    let rows = u64::from(u32_at(16)) | (u64::from(u32_at(20)) << 32);
    let expected = rows.checked_mul(cols).and_then(|n| n.checked_mul(4));
    if expected != Some(body.len() as u64) {
        return Err(bad(format!("{rows} × {cols} values do not make its {} bytes after the header", body.len())));
    }
    Ok((rows as usize, cols as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(matrix: &Matrix) -> Vec<u8> {
        let mut bytes = Vec::new();
        matrix.write_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_written_matrix_reads_back_in_place_and_unaligned() {
        let matrix = Matrix::from_vec(3, 2, vec![1.0, -2.0, 3.5, 0.0, 5.0, 6.0]).unwrap();
        let bytes = file(&matrix);
        assert_eq!(Matrix::from_bytes(Arc::new(bytes.clone())).unwrap(), matrix);

        struct Shifted(Vec<u8>);
        impl AsRef<[u8]> for Shifted {
            fn as_ref(&self) -> &[u8] {
                &self.0[1..]
            }
        }
        let mut shifted = vec![0];
        shifted.extend(bytes);
        let read = Matrix::from_bytes(Arc::new(Shifted(shifted))).unwrap();
        assert_eq!(read.get(2), Some(&[5.0, 6.0][..]));
        assert_eq!(read.get(3), None);
    }

    #[test]
    fn writing_to_a_borrowed_matrix_leaves_the_bytes_alone() {
        let bytes: SharedBytes = Arc::new(file(&Matrix::zeros(2, 2)));
        let mut matrix = Matrix::from_bytes(bytes.clone()).unwrap();
        matrix.as_mut_slice()[3] = 7.0;
        assert_eq!(matrix.row(1), [0.0, 7.0]);
        assert_eq!(Matrix::from_bytes(bytes).unwrap(), Matrix::zeros(2, 2));
    }

    #[test]
    fn damaged_files_are_refused_with_the_reason() {
        let good = file(&Matrix::zeros(2, 3));
        for (damage, expected) in [
            (good[..40].to_vec(), "fewer than its header"),
            (good[..good.len() - 4].to_vec(), "do not make"),
            ([b"XXMATF32", &good[8..]].concat(), "does not start with"),
            ([&good[..8], &[9, 0, 0, 0], &good[12..]].concat(), "version is 9"),
            ([&good[..16], &[255; 8], &good[24..]].concat(), "do not make"),
        ] {
            let error = Matrix::from_bytes(Arc::new(damage)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused_with_its_row() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut matrix = Matrix::zeros(70_000, 3);
            matrix.as_mut_slice()[69_999 * 3 + 1] = bad;
            let error = Matrix::from_bytes(Arc::new(file(&matrix))).unwrap_err();
            assert_eq!(error, ModelError::NotFinite { what: "matrix file", row: 69_999 });
        }
    }
}
