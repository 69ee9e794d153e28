//! The inner loops of retrieval: dot products of an `i16` query with `i8` codes, of two `f32` vectors, and prefetching. AVX2 where the
//! processor has it, found at run time; a portable version elsewhere, which the tests hold the other to. All of the index's `unsafe`
//! arithmetic is in this file, behind functions that check their bounds.

/// Dot products of `query` with the codes of `ids`, a vector being `stride` codes; `query` is `stride` long, a multiple of 16.
///
/// The sums are exact as long as `sum |query| * 127` fits an `i32`, which the quantisation of queries sees to.
///
/// # Panics
/// When an id lies outside of `codes`, or `out` is shorter than `ids`: the caller's structures are corrupt, and reading on would be worse.
#[inline]
pub(crate) fn dot_codes(query: &[i16], codes: &[i8], stride: usize, ids: &[u32], out: &mut [i32]) {
    let out = &mut out[..ids.len()];
    let vectors = codes.len() / stride;
    let largest = ids.iter().fold(0, |largest, &id| largest.max(id));
    assert!(ids.is_empty() || (largest as usize) < vectors, "vector {largest} of {vectors}");
    assert!(query.len() == stride && stride.is_multiple_of(16));
    #[cfg(target_arch = "x86_64")]
    if avx2() {
        // SAFETY: the processor has AVX2; every id is below `codes.len() / stride`, `query` has `stride` values and `out` one a id.
        unsafe { x86::dot_codes(query, codes, stride, ids, out) };
        return;
    }
    portable::dot_codes(query, codes, stride, ids, out);
}

/// Inner product of two `f32` vectors of the same length (the shorter one's, if they differ).
#[inline]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if avx2() {
        // SAFETY: the processor has AVX2 and FMA; the slices are cut to one length inside.
        return unsafe { x86::dot(a, b) };
    }
    portable::dot(a, b)
}

/// Asks for the cache lines of `items[range]` ahead of their use; out of bounds does nothing.
#[inline(always)]
pub(crate) fn prefetch<T>(items: &[T], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(part) = items.get(start..start + len) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = part.as_ptr().cast::<i8>();
        for line in (0..size_of_val(part)).step_by(64) {
            // SAFETY: a prefetch reads nothing, and `line` stays inside `part`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, start, len);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

mod portable {
    pub(super) fn dot_codes(query: &[i16], codes: &[i8], stride: usize, ids: &[u32], out: &mut [i32]) {
        for (&id, sum) in ids.iter().zip(out) {
            let start = id as usize * stride;
            let vector = &codes[start..start + stride];
            *sum = query.iter().zip(vector).map(|(&q, &c)| i32::from(q) * i32::from(c)).sum();
        }
    }

    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        // Eight running sums let the compiler use whatever vector unit there is.
        let mut sums = [0f32; 8];
        let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
        let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
        for (x, y) in a_chunks.zip(b_chunks) {
            for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
                *sum += x * y;
            }
        }
        sums.iter().sum::<f32>() + tail
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Four vectors at a time, so that their loads overlap and one tree of additions folds all four sums.
    ///
    /// # Safety
    /// AVX2 is there; `query.len() == stride`, a multiple of 16; `(id + 1) * stride <= codes.len()` for each id; `out.len() >= ids.len()`.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn dot_codes(query: &[i16], codes: &[i8], stride: usize, ids: &[u32], out: &mut [i32]) {
        for (ids, out) in ids.chunks(4).zip(out.chunks_mut(4)) {
            // The last group repeats its first vector in the lanes it does not need.
            let start = |lane: usize| ids.get(lane).unwrap_or(&ids[0]);
            // SAFETY: by the contract each vector is `stride` codes inside `codes`, and `at` stays below `stride` in steps of 16, so that 16 codes
            // and 16 query values can be read there.
            unsafe {
                let base = |lane| codes.as_ptr().add(*start(lane) as usize * stride);
                let vectors = [base(0), base(1), base(2), base(3)];
                let mut sums = [_mm256_setzero_si256(); 4];
                for at in (0..stride).step_by(16) {
                    let q = _mm256_loadu_si256(query.as_ptr().add(at).cast());
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        let codes = _mm256_cvtepi8_epi16(_mm_loadu_si128(vector.add(at).cast()));
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, codes));
                    }
                }
                let folded =
                    _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
                let four = _mm_add_epi32(_mm256_castsi256_si128(folded), _mm256_extracti128_si256::<1>(folded));
                let mut lanes = [0i32; 4];
                _mm_storeu_si128(lanes.as_mut_ptr().cast(), four);
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }

    /// # Safety
    /// AVX2 and FMA are there.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut at = 0;
        while at + 32 <= len {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `at + 32 <= len`, and a lane reads 8 values at `at + 8 * lane`.
                unsafe {
                    let x = _mm256_loadu_ps(a.as_ptr().add(at + lane * 8));
                    let y = _mm256_loadu_ps(b.as_ptr().add(at + lane * 8));
                    *sum = _mm256_fmadd_ps(x, y, *sum);
                }
            }
            at += 32;
        }
        while at + 8 <= len {
            // SAFETY: `at + 8 <= len`.
            unsafe {
                let (x, y) = (_mm256_loadu_ps(a.as_ptr().add(at)), _mm256_loadu_ps(b.as_ptr().add(at)));
                sums[0] = _mm256_fmadd_ps(x, y, sums[0]);
            }
            at += 8;
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        let sum = _mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum));
        let tail: f32 = a[at..].iter().zip(&b[at..]).map(|(x, y)| x * y).sum();
        _mm_cvtss_f32(sum) + tail
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn code_products_agree_with_the_portable_kernel(
            width in 1usize..9,
            seed in proptest::collection::vec(any::<i8>(), 9 * 16 * 8),
            query in proptest::collection::vec(-4000i16..4000, 8 * 16),
            ids in proptest::collection::vec(0u32..9, 0..20),
        ) {
            let stride = width * 16;
            let (codes, query) = (&seed[..9 * stride], &query[..stride]);
            let (mut fast, mut slow) = (vec![0; ids.len()], vec![0; ids.len()]);
            dot_codes(query, codes, stride, &ids, &mut fast);
            portable::dot_codes(query, codes, stride, &ids, &mut slow);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn float_products_agree_with_double_precision(pairs in proptest::collection::vec((-2f32..2.0, -2f32..2.0), 0..300)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let truth: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - truth).abs() < 1e-3);
            prop_assert!((f64::from(portable::dot(&a, &b)) - truth).abs() < 1e-3);
        }
    }

    #[test]
    fn prefetching_out_of_bounds_does_nothing() {
        prefetch(&[1u8, 2, 3], 2, 64);
        prefetch::<u8>(&[], 0, 1);
    }

    #[test]
    #[should_panic(expected = "vector 9 of 9")]
    fn an_id_outside_of_the_codes_is_refused() {
        dot_codes(&[0; 16], &[0; 9 * 16], 16, &[9], &mut [0]);
    }
}
