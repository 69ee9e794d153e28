//! Scalar quantisation: a vector as `i8` codes with one scale, a query as `i16`, and a bound on how far their product can be from the true
//! one. What is done with the products (scanning, walking a graph) is elsewhere.

use std::io;

use super::{kernel, memory::Arena};

/// The largest code; -128 is not used, so that negating a code cannot overflow.
const MAX_CODE: f32 = 127.0;

/// Codes a vector of `dim` components occupies: padded so that no vector touches more cache lines (64 bytes) than it needs.
pub(crate) fn stride(dim: usize) -> usize {
    if dim > 32 { dim.next_multiple_of(64) } else { dim.next_power_of_two().max(16) }
}

/// Quantised vectors: component `j` of vector `i` is `scale[i] * code[i * stride + j]`, off by at most `scale[i] / 2`.
pub(crate) struct Codes {
    stride: usize,
    codes: Arena<i8>,
    scales: Arena<f32>,
}

impl Codes {
    /// `len` zero vectors.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub(crate) fn zeroed(dim: usize, len: usize) -> io::Result<Self> {
        let stride = stride(dim);
        let size = len.checked_mul(stride).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { stride, codes: Arena::zeroed(size)?, scales: Arena::zeroed(len)? })
    }

    /// Codes as they were stored; `None` when the arrays do not fit each other.
    pub(crate) fn from_parts(dim: usize, codes: Arena<i8>, scales: Arena<f32>) -> Option<Self> {
        let stride = stride(dim);
        let fits = scales.as_slice().len().checked_mul(stride) == Some(codes.as_slice().len());
        fits.then_some(Self { stride, codes, scales })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let (codes, scales) = (Arena::copy_of(self.codes())?, Arena::copy_of(self.scales())?);
        Ok(Self { stride: self.stride, codes, scales })
    }

    pub(crate) fn codes(&self) -> &[i8] {
        self.codes.as_slice()
    }

    pub(crate) fn scales(&self) -> &[f32] {
        self.scales.as_slice()
    }

    /// Quantises `vector`, all finite, into place `index`.
    pub(crate) fn set(&mut self, index: usize, vector: &[f32]) {
        let start = index * self.stride;
        let (Some(codes), Some(scale)) =
            (self.codes.as_mut_slice().get_mut(start..start + self.stride), self.scales.as_mut_slice().get_mut(index))
        else {
            return;
        };
        *scale = quantise(vector, codes);
    }

    /// The scale of vector `index` (zero past the end).
    #[inline(always)]
    pub(crate) fn scale(&self, index: u32) -> f32 {
        self.scales().get(index as usize).copied().unwrap_or(0.0)
    }

    /// The codes of vector `index`, padded to the stride with zeros (empty past the end).
    pub(crate) fn vector(&self, index: u32) -> &[i8] {
        let start = index as usize * self.stride;
        self.codes().get(start..start + self.stride).unwrap_or_default()
    }

    /// Asks for the memory of vector `index` ahead of scoring it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, index: u32) {
        kernel::prefetch(self.codes(), index as usize * self.stride, self.stride);
        kernel::prefetch(self.scales(), index as usize, 1);
    }

    /// Approximate inner products of `query` with the vectors `ids`, into the front of `out`; `sums` is scratch of at least that length.
    ///
    /// # Panics
    /// When an id is out of bounds or a buffer is shorter than `ids`.
    #[inline]
    pub(crate) fn score(&self, query: &QueryCodes, ids: &[u32], sums: &mut [i32], out: &mut [f32]) {
        kernel::dot_codes(&query.codes, self.codes(), self.stride, ids, sums);
        let scales = self.scales();
        for ((&id, &sum), out) in ids.iter().zip(&*sums).zip(out) {
            *out = sum as f32 * (query.scale * scales[id as usize]);
        }
    }
}

/// Quantises `vector` into the front of `codes`; returns the scale.
fn quantise(vector: &[f32], codes: &mut [i8]) -> f32 {
    let largest = vector.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    // Below this the inverse would overflow; such a vector is zero for every purpose.
    if largest < 1e-30 {
        codes.fill(0);
        return 0.0;
    }
    let inverse = MAX_CODE / largest;
    for (code, x) in codes.iter_mut().zip(vector) {
        *code = (x * inverse).round() as i8;
    }
    largest / MAX_CODE
}

/// A query quantised to `i16`, so that practically all error of a product is the vector's.
pub(crate) struct QueryCodes {
    codes: Vec<i16>,
    scale: f32,
    /// See [`error_factor`](Self::error_factor).
    error_factor: f32,
}

impl QueryCodes {
    /// Quantises `query`, all finite.
    pub(crate) fn new(query: &[f32]) -> Self {
        let stride = stride(query.len());
        // As many bits as keep the sum of `stride` products inside an i32.
        let max_code = (i32::MAX as f32 / (MAX_CODE * stride as f32)).floor().min(f32::from(i16::MAX));
        let largest = query.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let mut codes = vec![0; stride];
        let scale = if largest < 1e-30 { 0.0 } else { largest / max_code };
        if scale > 0.0 {
            for (code, x) in codes.iter_mut().zip(query) {
                *code = (x / largest * max_code).round() as i16;
            }
        }
        let norm_1: f32 = query.iter().map(|x| x.abs()).sum();
        // Vector error: at most half a vector step times |q_j|, summed. Query error: at most half a query step times 127 vector steps a
        // component. A little more for the rounding of this arithmetic itself.
        let error_factor = (norm_1 + scale * MAX_CODE * query.len() as f32) * 0.5 * 1.001;
        Self { codes, scale, error_factor }
    }

    /// Vector `index` of `codes` as a query against its own kind.
    pub(crate) fn of_vector(codes: &Codes, index: u32) -> Self {
        Self {
            codes: codes.vector(index).iter().map(|&code| i16::from(code)).collect(),
            scale: codes.scale(index),
            error_factor: f32::INFINITY,
        }
    }

    /// Makes this query vector `index` of `codes`, without allocating.
    pub(crate) fn set_to_vector(&mut self, codes: &Codes, index: u32) {
        self.codes.clear();
        self.codes.extend(codes.vector(index).iter().map(|&code| i16::from(code)));
        self.scale = codes.scale(index);
    }

    /// The score of a vector with scale `s` is within `s * error_factor` of the true inner product: with `q` the query, `x` the vector and
    /// hats for what the codes stand for, `|q·x − q̂·x̂| ≤ Σ|q_j||x_j − x̂_j| + Σ|q_j − q̂_j||x̂_j|`, `|x_j − x̂_j| ≤ s/2` and `|x̂_j| ≤ 127 s`.
    pub(crate) fn error_factor(&self) -> f32 {
        self.error_factor
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_score_is_within_its_bound_of_the_truth(
            (query, vector) in (1usize..130).prop_flat_map(|dim| (
                proptest::collection::vec(-3f32..3.0, dim),
                proptest::collection::vec(-50f32..50.0, dim),
            )),
        ) {
            let mut codes = Codes::zeroed(query.len(), 3).unwrap();
            codes.set(1, &vector);
            let coded = QueryCodes::new(&query);
            let (mut sums, mut scores) = ([0; 2], [0.0; 2]);
            codes.score(&coded, &[1, 2], &mut sums, &mut scores);
            let truth: f64 = query.iter().zip(&vector).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let bound = f64::from(codes.scale(1) * coded.error_factor()) + truth.abs() * 1e-5 + 1e-6;
            prop_assert!((f64::from(scores[0]) - truth).abs() <= bound, "{} is not {} ± {}", scores[0], truth, bound);
            prop_assert_eq!(scores[1], 0.0);
        }

        #[test]
        fn a_vector_as_a_query_scores_like_its_floats(vectors in proptest::collection::vec(proptest::collection::vec(-1f32..1.0, 20), 2)) {
            let mut codes = Codes::zeroed(20, 2).unwrap();
            codes.set(0, &vectors[0]);
            codes.set(1, &vectors[1]);
            let (mut sums, mut scores) = ([0; 1], [0.0; 1]);
            codes.score(&QueryCodes::of_vector(&codes, 0), &[1], &mut sums, &mut scores);
            let truth: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
            prop_assert!((scores[0] - truth).abs() < 0.2);
        }
    }

    #[test]
    fn a_vector_never_straddles_more_cache_lines_than_it_needs() {
        assert_eq!([1, 16, 17, 32, 33, 64, 65, 128, 200].map(stride), [16, 16, 32, 32, 64, 64, 128, 128, 256]);
    }

    #[test]
    fn extreme_vectors_keep_finite_codes() {
        for vector in [[0.0; 4], [1e-40; 4], [1e15, -1e15, 1.0, 0.0]] {
            let mut codes = Codes::zeroed(4, 1).unwrap();
            codes.set(0, &vector);
            assert!(codes.scale(0).is_finite());
            assert!(QueryCodes::new(&vector).error_factor().is_finite());
        }
    }
}
