//! The iALS half-step written as its formula reads: dense, `f64`, one user after another. Slow on purpose; the fast
//! solvers are tested against it.

#![allow(clippy::needless_range_loop, reason = "indices as in the formula")]

use crate::interactions::Csr;
use crate::matrix::Matrix;

/// The row factors that minimise the objective with the column factors `fixed` held:
/// (α₀ HᵀH + Σ w h hᵀ + λ (n + α₀ N)^ν I) x = Σ w h for every row, by Gaussian elimination with pivoting. Rows
/// without entries are zero. Returns rows × rank, row-major; `None` if a system is singular.
pub fn half_step(
    rows: &Csr,
    fixed: &Matrix,
    unobserved_weight: f64,
    regularization: f64,
    exponent: f64,
) -> Option<Vec<f64>> {
    let rank = fixed.cols();
    let value = |row: usize, column: usize| f64::from(fixed.row(row)[column]);
    let mut out = Vec::new();
    for row in 0..rows.rows() {
        let (columns, weights) = rows.row(row);
        if columns.is_empty() {
            out.extend(vec![0.0; rank]);
            continue;
        }
        let lambda = regularization * (columns.len() as f64 + unobserved_weight * fixed.rows() as f64).powf(exponent);
        let mut system = vec![vec![0.0; rank + 1]; rank];
        for i in 0..rank {
            for j in 0..rank {
                for other in 0..fixed.rows() {
                    system[i][j] += unobserved_weight * value(other, i) * value(other, j);
                }
                for (column, weight) in columns.iter().zip(weights) {
                    system[i][j] += f64::from(*weight) * value(*column as usize, i) * value(*column as usize, j);
                }
            }
            system[i][i] += lambda;
            for (column, weight) in columns.iter().zip(weights) {
                system[i][rank] += f64::from(*weight) * value(*column as usize, i);
            }
        }
        out.extend(eliminate(system)?);
    }
    Some(out)
}

fn eliminate(mut system: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = system.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|a, b| system[*a][k].abs().total_cmp(&system[*b][k].abs()))?;
        system.swap(k, pivot);
        if system[k][k] == 0.0 || !system[k][k].is_finite() {
            return None;
        }
        for i in 0..n {
            if i != k {
                let factor = system[i][k] / system[k][k];
                for j in k..=n {
                    system[i][j] -= factor * system[k][j];
                }
            }
        }
    }
    Some((0..n).map(|k| system[k][n] / system[k][k]).collect())
}
