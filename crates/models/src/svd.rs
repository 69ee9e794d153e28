//! Degree-normalised truncated SVD. With the users' and items' weighted degrees d it takes the leading right singular
//! vectors V of R̃ = D_u^-½ R D_i^-q and scores item j for a history by (Σ w_i d_i^-q v_i) · (d_j^q v_j): item
//! factors are d^q v, and a user vector is a plain sum over the history, so users need no solve and no training.
//!
//! V comes from randomised subspace iteration (Halko, Martinsson, Tropp 2011, alg. 4.4) on R̃ᵀR̃ with a Rayleigh–Ritz
//! step at the end. Sparse products go row by row, dense ones in fixed blocks: the number of threads does not show.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::als::MAX_RANK;
use crate::encoder::QueryEncoder;
use crate::error::{ModelError, Side, check_setting};
use crate::factorizer::{Factorization, Factorizer, Progress, Workers};
use crate::gram::{eigen, gram, product};
use crate::interactions::{Csr, Interactions};
use crate::kernels::Kernels;
use crate::matrix::Matrix;

/// Rows of a dense product handled at a time.
const ROW_BLOCK: usize = 256;
/// Directions whose energy is below this share of the largest are dropped when a basis is made orthonormal.
const NEGLIGIBLE: f64 = 1e-12;

/// Settings of the degree-normalised SVD.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalizedSvd {
    /// Components of a vector, 1 to [`MAX_RANK`].
    pub rank: usize,
    /// q, how strongly popular items are held back inside the decomposition.
    pub item_exponent: f32,
    /// Extra directions carried along for accuracy.
    pub oversampling: usize,
    /// Subspace iterations.
    pub iterations: usize,
    /// Seed of the random start.
    pub seed: u64,
    /// Threads; 0 uses the pool the caller runs in.
    pub threads: usize,
}

impl Default for NormalizedSvd {
    fn default() -> Self {
        Self { rank: 256, item_exponent: 0.4, oversampling: 64, iterations: 5, seed: 1, threads: 0 }
    }
}

impl NormalizedSvd {
    fn check(&self) -> Result<(), ModelError> {
        let q = self.item_exponent;
        check_setting("rank", self.rank, (1..=MAX_RANK).contains(&self.rank), "from 1 to 4096")?;
        check_setting("item_exponent", q, q.is_finite() && (0.0..=2.0).contains(&q), "from 0 to 2")?;
        check_setting("oversampling", self.oversampling, self.oversampling <= MAX_RANK, "at most 4096")?;
        check_setting("iterations", self.iterations, self.iterations >= 1, "at least 1")?;
        check_setting("threads", self.threads, self.threads <= 1024, "at most 1024")
    }
}

/// Users × rank: the image of a random subspace after one power step of R̃ with q = ½, its columns near the leading
/// left singular vectors, each scaled by about its singular value. What ALS starts from.
pub(crate) fn sketch(data: &Interactions, rank: usize, seed: u64) -> Result<Matrix, ModelError> {
    let operator = Operator::new(data, 0.5);
    let basis = orthonormal(operator.apply_transposed(&normals(data.users(), rank, seed)))?;
    Ok(operator.apply(&basis))
}

/// Standard normals, one generator per row.
fn normals(rows: usize, width: usize, seed: u64) -> Matrix {
    let mut basis = Matrix::zeros(rows, width);
    basis.as_mut_slice().par_chunks_mut(width).enumerate().for_each(|(row, values)| {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&(row as u64).to_le_bytes());
        let mut rng = rand::rngs::StdRng::from_seed(bytes);
        values.iter_mut().for_each(|v| *v = StandardNormal.sample(&mut rng));
    });
    basis
}

impl Factorizer for NormalizedSvd {
    /// Progress comes once an iteration and without factors: a subspace has none before the last step.
    fn fit(
        &self,
        data: &Interactions,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Factorization, ModelError> {
        self.check()?;
        if data.is_empty() {
            return Err(ModelError::Empty { users: data.users(), items: data.items() });
        }
        let workers = Workers::new(self.threads)?;
        let started = Instant::now();
        let mut outside = Duration::ZERO;
        let q = f64::from(self.item_exponent);
        let item_degrees = data.by_item().weighted_degrees();
        let operator = Operator::new(data, q);
        let mut basis = workers.run(|| normals(data.items(), self.rank + self.oversampling, self.seed));
        for iteration in 1..=self.iterations {
            basis = workers.run(|| {
                let image = operator.apply(&basis);
                orthonormal(operator.apply_transposed(&image))
            })?;
            let paused = Instant::now();
            let state = Progress {
                iteration,
                iterations: self.iterations,
                solved: Side::User,
                elapsed: paused - started - outside,
                factors: None,
            };
            let stop = progress(state).is_break();
            outside += paused.elapsed();
            if stop {
                break;
            }
        }
        workers.run(|| {
            let image = operator.apply(&basis);
            let ritz = eigen(&gram(image.as_slice(), image.cols()), image.cols(), Side::User)?;
            let mut item_factors = columns_times(&basis, &ritz.vectors, self.rank, |_| 1.0);
            for (row, scale) in item_factors.as_mut_slice().chunks_mut(self.rank).zip(powers(&item_degrees, q)) {
                row.iter_mut().for_each(|v| *v *= scale);
            }
            item_factors.check_finite("item factors")?;
            let history_scales = powers(&item_degrees, -2.0 * q);
            let user_factors = sparse_product(data.by_user(), &vec![1.0; data.users()], &history_scales, &item_factors);
            user_factors.check_finite("user factors")?;
            let encoder = QueryEncoder::for_svd(self.rank, history_scales);
            Ok(Factorization { user_factors, item_factors, encoder })
        })
    }
}

/// d^e, and 0 where the degree is 0.
fn powers(degrees: &[f64], exponent: f64) -> Vec<f32> {
    degrees.iter().map(|d| if *d > 0.0 { d.powf(exponent) as f32 } else { 0.0 }).collect()
}

/// R̃, never formed.
struct Operator<'a> {
    data: &'a Interactions,
    user_scales: Vec<f32>,
    item_scales: Vec<f32>,
}

impl<'a> Operator<'a> {
    fn new(data: &'a Interactions, q: f64) -> Self {
        Self {
            data,
            user_scales: powers(&data.by_user().weighted_degrees(), -0.5),
            item_scales: powers(&data.by_item().weighted_degrees(), -q),
        }
    }

    fn apply(&self, x: &Matrix) -> Matrix {
        sparse_product(self.data.by_user(), &self.user_scales, &self.item_scales, x)
    }

    fn apply_transposed(&self, x: &Matrix) -> Matrix {
        sparse_product(self.data.by_item(), &self.item_scales, &self.user_scales, x)
    }
}

/// diag(rows) · A · diag(columns) · X.
fn sparse_product(a: &Csr, row_scales: &[f32], column_scales: &[f32], x: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(a.rows(), x.cols());
    let kernels = Kernels::get();
    out.as_mut_slice().par_chunks_mut(x.cols()).enumerate().for_each(|(row, sum)| {
        let (columns, weights) = a.row(row);
        for (column, weight) in columns.iter().zip(weights) {
            let factor = row_scales[row] * weight * column_scales[*column as usize];
            kernels.axpy(factor, x.row(*column as usize), sum);
        }
    });
    out
}

/// An orthonormal basis of the columns: X Q Λ^-½ with XᵀX = QΛQᵀ, directions without energy left zero.
fn orthonormal(x: Matrix) -> Result<Matrix, ModelError> {
    x.check_finite("subspace")?;
    let width = x.cols();
    let decomposed = eigen(&gram(x.as_slice(), width), width, Side::Item)?;
    let floor = decomposed.values.first().copied().unwrap_or(0.0) * NEGLIGIBLE;
    let scale = |c: usize| if decomposed.values[c] > floor { 1.0 / decomposed.values[c].sqrt() } else { 0.0 };
    Ok(columns_times(&x, &decomposed.vectors, width, scale))
}

/// X · M[.., ..columns] · diag(scale), for row-major square M.
fn columns_times(x: &Matrix, by: &[f64], columns: usize, scale: impl Fn(usize) -> f64) -> Matrix {
    let width = x.cols();
    let scales: Vec<f64> = (0..columns).map(scale).collect();
    let by: Vec<f32> =
        by.chunks(width).flat_map(|row| row.iter().zip(&scales).map(|(v, scale)| (v * scale) as f32)).collect();
    let mut out = Matrix::zeros(x.rows(), columns);
    let blocks = out.as_mut_slice().par_chunks_mut(ROW_BLOCK * columns).zip(x.as_slice().par_chunks(ROW_BLOCK * width));
    blocks.for_each(|(out, x)| product(x, &by, width, columns, out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Interactions {
        let triplets = (0..3000u32).map(|k| {
            let (user, item) = (k.wrapping_mul(2_654_435_761) >> 10, k.wrapping_mul(2_246_822_519) >> 9);
            (user % 80 * (user % 5) / 5, item % 60 * (item % 3) / 3, 1.0 + (k % 2) as f32)
        });
        Interactions::from_triplets(80, 60, triplets).unwrap()
    }

    fn fit(svd: &NormalizedSvd, data: &Interactions) -> Factorization {
        svd.fit(data, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    /// d^-½ w d^-q, dense and row-major.
    fn normalised(data: &Interactions, q: f64) -> Vec<f64> {
        let (user_degrees, item_degrees) = (data.by_user().weighted_degrees(), data.by_item().weighted_degrees());
        let mut dense = vec![0.0; data.users() * data.items()];
        for u in 0..data.users() {
            let (items, weights) = data.by_user().row(u);
            for (i, w) in items.iter().zip(weights) {
                let scale = user_degrees[u].powf(-0.5) * item_degrees[*i as usize].powf(-q);
                dense[u * data.items() + *i as usize] = f64::from(*w) * scale;
            }
        }
        dense
    }

    #[test]
    fn scores_equal_those_of_an_exact_decomposition() {
        let data = data();
        let (q, rank) = (0.4, 7);
        let svd = NormalizedSvd { rank, oversampling: 20, iterations: 40, ..NormalizedSvd::default() };
        let model = fit(&svd, &data);

        let dense = normalised(&data, q);
        let exact = faer::MatRef::from_row_major_slice(&dense, data.users(), data.items()).svd().unwrap();
        let (v, singular) = (exact.V(), exact.S().column_vector());
        assert!(singular[rank - 1] > 1.02 * singular[rank], "a gap, or the subspace is not determined");
        let degrees = data.by_item().weighted_degrees();
        for u in 0..data.users() {
            let (items, weights) = data.by_user().row(u);
            for j in 0..data.items() {
                let expected: f64 = (0..rank)
                    .map(|c| {
                        let history: f64 = items
                            .iter()
                            .zip(weights)
                            .map(|(i, w)| f64::from(*w) * v[(*i as usize, c)] * degrees[*i as usize].powf(-q))
                            .sum();
                        let scale = if degrees[j] > 0.0 { degrees[j].powf(q) } else { 0.0 };
                        history * v[(j, c)] * scale
                    })
                    .sum();
                let got: f32 =
                    model.user_factors.row(u).iter().zip(model.item_factors.row(j)).map(|(a, b)| a * b).sum();
                assert!((f64::from(got) - expected).abs() < 1e-3, "user {u}, item {j}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn folding_in_a_training_history_gives_that_users_vector() {
        let data = data();
        let model = fit(&NormalizedSvd { rank: 12, ..NormalizedSvd::default() }, &data);
        for user in 0..data.users() {
            let (items, weights) = data.by_user().row(user);
            let history: Vec<_> = items.iter().copied().zip(weights.iter().copied()).collect();
            let vector = model.encoder.user_vector(&model.item_factors, &history).unwrap();
            assert_eq!(vector, model.user_factors.row(user));
        }
        let read = QueryEncoder::from_bytes(&model.encoder.to_bytes()).unwrap();
        assert_eq!(read, model.encoder);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data = data();
        let of = |threads| {
            fit(&NormalizedSvd { rank: 9, threads, iterations: 2, ..NormalizedSvd::default() }, &data).item_factors
        };
        assert_eq!(of(1), of(2));
        assert_eq!(of(1), of(3));
    }

    #[test]
    fn a_rank_above_the_datas_own_leaves_the_rest_zero() {
        let data = Interactions::from_triplets(4, 3, [(0, 0, 1.0), (1, 1, 1.0), (2, 0, 1.0), (3, 1, 1.0)]).unwrap();
        let model = fit(&NormalizedSvd { rank: 10, ..NormalizedSvd::default() }, &data);
        assert_eq!(model.item_factors.row(2), [0.0; 10]);
        let score = |u: usize, i: usize| -> f32 {
            model.user_factors.row(u).iter().zip(model.item_factors.row(i)).map(|(a, b)| a * b).sum()
        };
        assert!((score(0, 0) - 1.0).abs() < 1e-4 && score(0, 1).abs() < 1e-4);
    }

    #[test]
    fn unusable_settings_are_named() {
        let bad = NormalizedSvd { item_exponent: f32::NAN, ..NormalizedSvd::default() };
        let error = bad.fit(&data(), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("item_exponent = NaN"), "{error}");
    }
}
