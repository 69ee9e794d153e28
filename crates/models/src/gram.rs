//! The Gram matrix of a tall factor matrix, its eigendecomposition, and the rotation of the rows into that
//! basis: the whole-matrix steps that come before the rows are solved one by one. Work is cut into fixed blocks of
//! rows and their partial sums are added in order, so that results do not depend on the number of threads.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{self, ComputeEigenvectors};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::error::{ModelError, Side};
use crate::kernels::{Kernels, Panel, padded, stride};
use crate::matrix::Matrix;

/// Rows whose outer products are summed in `f32` before joining the `f64` total.
const GRAM_BLOCK: usize = 1024;
/// Tasks a Gram matrix is cut into; fixed, so that the order of additions is.
const GRAM_TASKS: usize = 32;
/// Rows rotated at a time.
const ROTATE_BLOCK: usize = 256;

/// Eigenvalues in descending order and their eigenvectors.
pub(crate) struct Eigen {
    /// The eigenvalues, those below zero by rounding set to zero.
    pub values: Vec<f64>,
    /// Row-major, one eigenvector a column, in the order of `values`.
    pub vectors: Vec<f64>,
}

/// XᵀX of row-major X (rows × cols), full and row-major, summed in `f64`.
pub(crate) fn gram(x: &[f32], cols: usize) -> Vec<f64> {
    let (width, out_stride) = (padded(cols), stride(cols));
    let rows_per_task = (x.len() / cols).div_ceil(GRAM_TASKS).next_multiple_of(GRAM_BLOCK);
    let tasks: Vec<Vec<f64>> = x
        .par_chunks(rows_per_task.max(1) * cols)
        .map(|rows| {
            let mut total = vec![0f64; cols * cols];
            let mut partial = vec![0f32; width * out_stride];
            let mut panel = vec![0f32; if width == cols { 0 } else { GRAM_BLOCK * width }];
            for block in rows.chunks(GRAM_BLOCK * cols) {
                let panel = if width == cols {
                    Panel { data: block, rows: block.len() / cols, stride: cols }
                } else {
                    for (to, from) in panel.chunks_mut(width).zip(block.chunks(cols)) {
                        to[..cols].copy_from_slice(from);
                    }
                    Panel { data: &panel, rows: block.len() / cols, stride: width }
                };
                partial.fill(0.0);
                Kernels::get().rank_update(width, 1.0, panel, &mut partial, out_stride);
                for i in 0..cols {
                    let from = &partial[i * out_stride..i * out_stride + cols];
                    for (sum, value) in total[i * cols + i..(i + 1) * cols].iter_mut().zip(&from[i..]) {
                        *sum += f64::from(*value);
                    }
                }
            }
            total
        })
        .collect();
    let mut total = vec![0f64; cols * cols];
    for task in tasks {
        total.iter_mut().zip(task).for_each(|(sum, value)| *sum += value);
    }
    for i in 0..cols {
        for j in 0..i {
            total[i * cols + j] = total[j * cols + i];
        }
    }
    total
}

/// Decomposes a symmetric positive semi-definite row-major matrix. Single-threaded: a parallel decomposition
/// would depend on the number of threads.
pub(crate) fn eigen(matrix: &[f64], n: usize, side: Side) -> Result<Eigen, ModelError> {
    if matrix.iter().any(|v| !v.is_finite()) {
        return Err(ModelError::Eigen { side });
    }
    let matrix = MatRef::from_row_major_slice(matrix, n, n);
    let mut values = vec![0f64; n];
    let mut vectors = Mat::<f64>::zeros(n, n);
    let scratch = evd::self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut buffer = MemBuffer::new(scratch);
    evd::self_adjoint_evd(
        matrix,
        faer::diag::DiagMut::from_slice_mut(&mut values),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut buffer),
        Default::default(),
    )
    .map_err(|_| ModelError::Eigen { side })?;
    // Faer returns them ascending. A vector's sign is free: make its largest component positive.
    let mut sorted = vec![0f64; n * n];
    for column in 0..n {
        let vector = vectors.col(n - 1 - column);
        let largest = vector.iter().fold(0f64, |max, v| if v.abs() > max.abs() { *v } else { max });
        for (row, value) in vector.iter().enumerate() {
            sorted[row * n + column] = value * largest.signum();
        }
    }
    values.reverse();
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    Ok(Eigen { values, vectors: sorted })
}

/// X ← X·M in place for row-major X (rows × cols) and row-major square M.
pub(crate) fn multiply_rows(x: &mut Matrix, by: &[f32]) {
    let cols = x.cols();
    x.as_mut_slice().par_chunks_mut(ROTATE_BLOCK * cols).for_each_init(Vec::new, |before, rows| {
        before.clear();
        before.extend_from_slice(rows);
        product(before, by, cols, cols, rows);
    });
}

/// `out = a · b` for row-major a (any rows × inner), b (inner × cols); on the calling thread.
pub(crate) fn product(a: &[f32], b: &[f32], inner: usize, cols: usize, out: &mut [f32]) {
    let rows = a.len() / inner;
    faer::linalg::matmul::matmul(
        MatMut::from_row_major_slice_mut(out, rows, cols),
        Accum::Replace,
        MatRef::from_row_major_slice(a, rows, inner),
        MatRef::from_row_major_slice(b, inner, cols),
        1.0,
        Par::Seq,
    );
}

/// Rotates the rows of `x` into the eigenbasis of their Gram matrix and returns that Gram matrix's eigenvalues and
/// the rotation: afterwards XᵀX is diagonal, its components in order of descending energy.
pub(crate) fn rotate_into_eigenbasis(x: &mut Matrix, side: Side) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
    x.check_finite(match side {
        Side::User => "user factors",
        Side::Item => "item factors",
    })?;
    let decomposed = eigen(&gram(x.as_slice(), x.cols()), x.cols(), side)?;
    let vectors: Vec<f32> = decomposed.vectors.iter().map(|v| *v as f32).collect();
    multiply_rows(x, &vectors);
    Ok((decomposed.values.iter().map(|v| *v as f32).collect(), vectors))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn random(rows: usize, cols: usize) -> Matrix {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        Matrix::from_vec(rows, cols, (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect()).unwrap()
    }

    #[test]
    fn the_gram_matrix_of_a_small_matrix_is_the_one_done_by_hand() {
        assert_eq!(gram(&[1.0, 2.0, 3.0, 4.0], 2), [10.0, 14.0, 14.0, 20.0]);
    }

    #[test]
    fn after_rotation_the_gram_matrix_is_diagonal_and_inner_products_are_kept() {
        for cols in [1, 5, 8, 24] {
            let before = random(40_000, cols);
            let mut after = before.clone();
            let (values, _) = rotate_into_eigenbasis(&mut after, Side::Item).unwrap();
            assert!(values.is_sorted_by(|a, b| a >= b));
            let rotated = gram(after.as_slice(), cols);
            for i in 0..cols {
                for j in 0..cols {
                    let expected = if i == j { f64::from(values[i]) } else { 0.0 };
                    assert!((rotated[i * cols + j] - expected).abs() < 1e-5 * f64::from(values[0]));
                }
            }
            let dot = |m: &Matrix| m.row(3).iter().zip(m.row(39_999)).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(&before) - dot(&after)).abs() < 1e-4);
        }
    }

    #[test]
    fn factors_that_are_not_finite_are_named() {
        let mut x = random(10, 4);
        x.as_mut_slice()[4 * 6 + 2] = f32::NAN;
        let error = rotate_into_eigenbasis(&mut x, Side::User).unwrap_err();
        assert_eq!(error, ModelError::NotFinite { what: "user factors", row: 6 });
    }
}
