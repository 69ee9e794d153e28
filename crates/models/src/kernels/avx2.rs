//! The loops for x86-64 with AVX2 and FMA: register tiles of eight accumulators, which is what it takes to keep
//! two fused multiply-adds a cycle in flight at four cycles' latency.

use std::arch::x86_64::*;

use super::{Kernels, LANE, Panel};

/// The set, if this CPU has the instructions.
pub(super) fn kernels() -> Option<Kernels> {
    let supported = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    supported.then_some(Kernels { rank_update, row_gram, dot, axpy, scale })
}

// The functions of this block are reachable only through the set that `kernels` hands out after it has seen the
// CPU's features, and only through the checked methods of `Kernels`.

fn rank_update(n: usize, sign: f32, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
    // SAFETY: the features are there; `Kernels::rank_update` checked that every index below is in bounds.
    unsafe { rank_update_avx2(n, sign, panel, out.as_mut_ptr(), out_stride) }
}

fn row_gram(width: usize, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
    // SAFETY: the features are there; `Kernels::row_gram` checked that every index below is in bounds.
    unsafe { row_gram_avx2(width, panel, out.as_mut_ptr(), out_stride) }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: the features are there; the lengths are equal.
    unsafe { dot_avx2(a, b) }
}

fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    // SAFETY: the features are there; the lengths are equal.
    unsafe { axpy_avx2(a, x, y) }
}

fn scale(factor: f32, x: &[f32], scales: &[f32], out: &mut [f32]) {
    // SAFETY: the features are there; the lengths are equal.
    unsafe { scale_avx2(factor, x, scales, out) }
}

/// Upper-triangle tiles of 4 rows × 16 (then 8) columns.
///
/// # Safety
/// AVX2 and FMA are there, `n` is a multiple of 8, `panel` holds `rows` rows of `n`, `out` `n` rows of `n`.
#[target_feature(enable = "avx2,fma")]
unsafe fn rank_update_avx2(n: usize, sign: f32, panel: Panel<'_>, out: *mut f32, out_stride: usize) {
    let data = panel.data.as_ptr();
    let signs = _mm256_set1_ps(sign);
    for i in (0..n).step_by(4) {
        let mut j = i & !(LANE - 1);
        while j + 16 <= n {
            let mut sums = [[_mm256_setzero_ps(); 2]; 4];
            for p in 0..panel.rows {
                // SAFETY: p < rows and i + 4 <= n, j + 16 <= n, so both reads stay inside row p.
                unsafe {
                    let row = data.add(p * panel.stride);
                    let right = [_mm256_loadu_ps(row.add(j)), _mm256_loadu_ps(row.add(j + LANE))];
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let left = _mm256_set1_ps(*row.add(i + r));
                        sums[0] = _mm256_fmadd_ps(left, right[0], sums[0]);
                        sums[1] = _mm256_fmadd_ps(left, right[1], sums[1]);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (half, sum) in sums.iter().enumerate() {
                    // SAFETY: row i + r < n, columns j + 8 * half + 8 <= n.
                    unsafe {
                        let cell = out.add((i + r) * out_stride + j + half * LANE);
                        _mm256_storeu_ps(cell, _mm256_fmadd_ps(signs, *sum, _mm256_loadu_ps(cell)));
                    }
                }
            }
            j += 16;
        }
        if j < n {
            let mut sums = [_mm256_setzero_ps(); 4];
            for p in 0..panel.rows {
                // SAFETY: p < rows and i + 4 <= n, j + 8 <= n.
                unsafe {
                    let row = data.add(p * panel.stride);
                    let right = _mm256_loadu_ps(row.add(j));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_fmadd_ps(_mm256_set1_ps(*row.add(i + r)), right, *sum);
                    }
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                // SAFETY: row i + r < n, columns j + 8 <= n.
                unsafe {
                    let cell = out.add((i + r) * out_stride + j);
                    _mm256_storeu_ps(cell, _mm256_fmadd_ps(signs, *sum, _mm256_loadu_ps(cell)));
                }
            }
        }
    }
}

/// Upper-triangle tiles of 2 rows × 4 rows of inner products.
///
/// # Safety
/// AVX2 and FMA are there, `rows` and `width` are multiples of 8, `panel` holds `rows` rows of `width`, `out`
/// `rows` rows of `rows`.
#[target_feature(enable = "avx2,fma")]
unsafe fn row_gram_avx2(width: usize, panel: Panel<'_>, out: *mut f32, out_stride: usize) {
    let data = panel.data.as_ptr();
    for i in (0..panel.rows).step_by(2) {
        for j in ((i & !3)..panel.rows).step_by(4) {
            let mut sums = [[_mm256_setzero_ps(); 4]; 2];
            for at in (0..width).step_by(LANE) {
                // SAFETY: rows i..i + 2 and j..j + 4 exist, at + 8 <= width.
                unsafe {
                    let left = [
                        _mm256_loadu_ps(data.add(i * panel.stride + at)),
                        _mm256_loadu_ps(data.add((i + 1) * panel.stride + at)),
                    ];
                    for c in 0..4 {
                        let right = _mm256_loadu_ps(data.add((j + c) * panel.stride + at));
                        for (left, sums) in left.iter().zip(&mut sums) {
                            sums[c] = _mm256_fmadd_ps(*left, right, sums[c]);
                        }
                    }
                }
            }
            for (r, s) in sums.iter().enumerate() {
                let pairs = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3]));
                let four = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
                // SAFETY: row i + r < rows, columns j + 4 <= rows.
                unsafe { _mm_storeu_ps(out.add((i + r) * out_stride + j), four) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut at = 0;
    // SAFETY: every read ends at or before the slices' common length.
    unsafe {
        while at + 4 * LANE <= a.len() {
            for (k, sum) in sums.iter_mut().enumerate() {
                let (x, y) = (a.as_ptr().add(at + k * LANE), b.as_ptr().add(at + k * LANE));
                *sum = _mm256_fmadd_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y), *sum);
            }
            at += 4 * LANE;
        }
        while at + LANE <= a.len() {
            let (x, y) = (a.as_ptr().add(at), b.as_ptr().add(at));
            sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y), sums[0]);
            at += LANE;
        }
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut lanes = [0f32; LANE];
    // SAFETY: `lanes` holds eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    lanes.iter().sum::<f32>() + a[at..].iter().zip(&b[at..]).map(|(a, b)| a * b).sum::<f32>()
}

#[target_feature(enable = "avx2,fma")]
unsafe fn axpy_avx2(a: f32, x: &[f32], y: &mut [f32]) {
    let factor = _mm256_set1_ps(a);
    let mut at = 0;
    while at + LANE <= x.len() {
        // SAFETY: at + 8 <= the slices' common length.
        unsafe {
            let out = y.as_mut_ptr().add(at);
            let sum = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x.as_ptr().add(at)), _mm256_loadu_ps(out));
            _mm256_storeu_ps(out, sum);
        }
        at += LANE;
    }
    for (y, x) in y[at..].iter_mut().zip(&x[at..]) {
        *y = a.mul_add(*x, *y);
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn scale_avx2(factor: f32, x: &[f32], scales: &[f32], out: &mut [f32]) {
    for ((out, x), scale) in out.iter_mut().zip(x).zip(scales) {
        *out = factor * x * scale;
    }
}
