//! Cholesky factorisation A = UᵀU of a padded matrix held as its upper triangle, row-major, and the solve with
//! it. Eight pivot rows at a time, then one rank-8 update of the rest: the loop that builds the normal equations
//! also factors them.

use super::{Kernels, LANE, Panel};

impl Kernels {
    /// Factors the upper triangle of `a` (`n` rows of `stride`, `n` a multiple of [`LANE`]) in place. `Err(pivot)`
    /// names the first pivot that is not above zero: the matrix is singular, indefinite or holds NaN.
    pub(crate) fn cholesky(&self, n: usize, a: &mut [f32], stride: usize) -> Result<(), usize> {
        assert!(n.is_multiple_of(LANE) && stride >= n && a.len() >= n * stride);
        for block in (0..n).step_by(LANE) {
            let (pivots, rest) = a[block * stride..].split_at_mut(LANE * stride);
            for p in 0..LANE {
                let (row, later) = pivots[p * stride..].split_at_mut(stride);
                let row = &mut row[..n];
                let at = block + p;
                if !(row[at] > 0.0 && row[at].is_finite()) {
                    return Err(at);
                }
                let inverse = 1.0 / row[at].sqrt();
                row[at..].iter_mut().for_each(|v| *v *= inverse);
                for (q, later) in later.chunks_mut(stride).take(LANE - 1 - p).enumerate() {
                    let column = at + 1 + q;
                    self.axpy(-row[column], &row[column..], &mut later[column..n]);
                }
            }
            let next = block + LANE;
            if next < n {
                let panel = Panel { data: &pivots[next..], rows: LANE, stride };
                self.rank_update(n - next, -1.0, panel, &mut rest[next..], stride);
            }
        }
        Ok(())
    }

    /// Solves UᵀU x = b in place of `b`, with what [`Kernels::cholesky`] left in `factor`.
    pub(crate) fn cholesky_solve(&self, n: usize, factor: &[f32], stride: usize, b: &mut [f32]) {
        for k in 0..n {
            let row = &factor[k * stride..k * stride + n];
            let (head, tail) = b[k..n].split_at_mut(1);
            head[0] /= row[k];
            self.axpy(-head[0], &row[k + 1..], tail);
        }
        for k in (0..n).rev() {
            let row = &factor[k * stride..k * stride + n];
            b[k] = (b[k] - self.dot(&row[k + 1..], &b[k + 1..n])) / row[k];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_solution_satisfies_the_system(
            (n, stride, data) in (1usize..7, 0usize..2).prop_flat_map(|(n8, pad)| {
                let n = n8 * LANE;
                (Just(n), Just(n + pad * LANE), prop::collection::vec(-1f32..1f32, n * n + n))
            }),
        ) {
            let kernels = Kernels::get();
            let (rows, b) = data.split_at(n * n);
            // A = I + RᵀR is positive definite.
            let mut a = vec![0f32; n * stride];
            kernels.rank_update(n, 1.0, Panel { data: rows, rows: n, stride: n }, &mut a, stride);
            (0..n).for_each(|i| a[i * stride + i] += 1.0);
            let original = a.clone();
            kernels.cholesky(n, &mut a, stride).unwrap();
            let mut x = b.to_vec();
            kernels.cholesky_solve(n, &a, stride, &mut x);
            for (i, b) in b.iter().enumerate() {
                let product: f64 = (0..n).map(|j| {
                    let (row, column) = (i.min(j), i.max(j));
                    f64::from(original[row * stride + column]) * f64::from(x[j])
                }).sum();
                prop_assert!((product - f64::from(*b)).abs() < 1e-3, "row {}: {} for {}", i, product, b);
            }
        }
    }

    #[test]
    fn a_singular_matrix_names_its_pivot() {
        let n = LANE;
        let mut a = vec![0f32; n * n];
        (0..n).for_each(|i| a[i * n + i] = 1.0);
        a[3 * n + 3] = 0.0;
        assert_eq!(Kernels::get().cholesky(n, &mut a.clone(), n), Err(3));
        a[3 * n + 3] = f32::NAN;
        assert_eq!(Kernels::get().cholesky(n, &mut a, n), Err(3));
    }
}
