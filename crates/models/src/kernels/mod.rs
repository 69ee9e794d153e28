//! The few dense `f32` loops that training spends its time in, chosen once per process for the CPU at hand (AVX2
//! with FMA, or portable code). All of them want row strides and lengths that are multiples of [`LANE`], zero
//! padded, so that none has a tail; results do not depend on where in memory the operands lie.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod cholesky;
mod portable;

use std::sync::OnceLock;

/// Every padded length and stride is a multiple of this many floats.
pub(crate) const LANE: usize = 8;

/// Rounds up to a multiple of [`LANE`].
pub(crate) fn padded(n: usize) -> usize {
    n.next_multiple_of(LANE)
}

/// Row stride for a matrix of `n` padded columns: a stride that is a large power of two would map all rows to
/// the same few cache sets.
pub(crate) fn stride(n: usize) -> usize {
    let n = padded(n);
    if n >= 128 { n + 2 * LANE } else { n }
}

/// Asks for a row that is about to be read; rows of a history lie all over memory.
#[inline(always)]
pub(crate) fn prefetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// Rows `0..rows` of a strided matrix inside `data`.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub stride: usize,
}

type RankUpdate = fn(n: usize, sign: f32, panel: Panel<'_>, out: &mut [f32], out_stride: usize);
type RowGram = fn(width: usize, panel: Panel<'_>, out: &mut [f32], out_stride: usize);

/// The chosen implementation of each loop.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    rank_update: RankUpdate,
    row_gram: RowGram,
    dot: fn(&[f32], &[f32]) -> f32,
    axpy: fn(f32, &[f32], &mut [f32]),
    scale: fn(f32, &[f32], &[f32], &mut [f32]),
}

impl Kernels {
    /// The fastest set this CPU runs.
    pub(crate) fn get() -> &'static Kernels {
        static CHOSEN: OnceLock<Kernels> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            if let Some(kernels) = avx2::kernels() {
                return kernels;
            }
            portable::KERNELS
        })
    }

    /// `out[i][j] += sign * Σ_p panel[p][i] * panel[p][j]` for `i <= j < n`; what lands below the diagonal is
    /// unspecified. `n` is a multiple of [`LANE`]; `out` has `n` rows.
    pub(crate) fn rank_update(&self, n: usize, sign: f32, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
        check_panel(n, panel);
        assert!(n.is_multiple_of(LANE) && out_stride >= n && out.len() + out_stride >= n * out_stride + n);
        (self.rank_update)(n, sign, panel, out, out_stride);
    }

    /// `out[i][j] = panel[i] · panel[j]` for `i <= j`; what lands below the diagonal is unspecified. The number of
    /// rows and `width` are multiples of [`LANE`].
    pub(crate) fn row_gram(&self, width: usize, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
        check_panel(width, panel);
        let n = panel.rows;
        assert!(width.is_multiple_of(LANE) && n.is_multiple_of(LANE));
        assert!(out_stride >= n && out.len() + out_stride >= n * out_stride + n);
        (self.row_gram)(width, panel, out, out_stride);
    }

    /// Inner product of two slices of one length.
    pub(crate) fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        (self.dot)(a, b)
    }

    /// `y += a * x`.
    pub(crate) fn axpy(&self, a: f32, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len());
        (self.axpy)(a, x, y);
    }

    /// `out = factor * x * scales`, element by element.
    pub(crate) fn scale(&self, factor: f32, x: &[f32], scales: &[f32], out: &mut [f32]) {
        assert!(x.len() == scales.len() && x.len() == out.len());
        (self.scale)(factor, x, scales, out);
    }
}

fn check_panel(width: usize, panel: Panel<'_>) {
    let needed = if panel.rows == 0 { 0 } else { (panel.rows - 1) * panel.stride + width };
    assert!(panel.stride >= width && panel.data.len() >= needed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Kernels> {
        let mut sets = vec![portable::KERNELS];
        #[cfg(target_arch = "x86_64")]
        sets.extend(avx2::kernels());
        sets
    }

    fn values(len: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1f32..1f32, len)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rank_update_adds_outer_products(
            (n8, rows, data) in (1usize..6, 0usize..20).prop_flat_map(|(n8, rows)| {
                (Just(n8), Just(rows), values(rows * (n8 * 8 + 3)))
            }),
            sign in prop::sample::select(vec![-1f32, 1f32]),
        ) {
            let (n, width) = (n8 * 8, n8 * 8 + 3);
            for kernels in all() {
                let mut out = vec![0.5f32; n * (n + 8)];
                kernels.rank_update(n, sign, Panel { data: &data, rows, stride: width }, &mut out, n + 8);
                for i in 0..n {
                    for j in i..n {
                        let sum: f64 = (0..rows)
                            .map(|p| f64::from(data[p * width + i]) * f64::from(data[p * width + j])).sum();
                        let expected = 0.5 + f64::from(sign) * sum;
                        prop_assert!((f64::from(out[i * (n + 8) + j]) - expected).abs() < 1e-5);
                    }
                }
            }
        }

        #[test]
        fn row_gram_holds_inner_products(
            (rows8, width8, data) in (1usize..4, 1usize..6).prop_flat_map(|(rows8, width8)| {
                (Just(rows8), Just(width8), values(rows8 * 8 * (width8 * 8 + 5)))
            }),
        ) {
            let (n, width, stride) = (rows8 * 8, width8 * 8, width8 * 8 + 5);
            for kernels in all() {
                let mut out = vec![9f32; n * n];
                kernels.row_gram(width, Panel { data: &data, rows: n, stride }, &mut out, n);
                for i in 0..n {
                    for j in i..n {
                        let expected: f64 = (0..width)
                            .map(|p| f64::from(data[i * stride + p]) * f64::from(data[j * stride + p])).sum();
                        prop_assert!((f64::from(out[i * n + j]) - expected).abs() < 1e-5);
                    }
                }
            }
        }

        #[test]
        fn dot_axpy_and_scale_match_their_definitions_at_any_length(
            (a, b) in (0usize..70).prop_flat_map(|n| (values(n), values(n))), factor in -2f32..2f32,
        ) {
            for kernels in all() {
                let expected: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                prop_assert!((f64::from(kernels.dot(&a, &b)) - expected).abs() < 1e-5);
                let mut sum = b.clone();
                kernels.axpy(factor, &a, &mut sum);
                let mut scaled = vec![0f32; a.len()];
                kernels.scale(factor, &a, &b, &mut scaled);
                for i in 0..a.len() {
                    prop_assert!((sum[i] - (b[i] + factor * a[i])).abs() < 1e-5);
                    prop_assert!((scaled[i] - factor * a[i] * b[i]).abs() < 1e-5);
                }
            }
        }
    }
}
