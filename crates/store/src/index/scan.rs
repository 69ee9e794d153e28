//! The exact scan: every candidate is scored by its codes, and those that could still be among the best `k` by the quantisation's error bound
//! are scored again by their floats. The answer is that of scoring all floats, for the price of reading a quarter of the bytes.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Hit, NO_ROW,
    vectors::{Query, Vectors},
};

/// Vectors whose memory is asked for before the first of them is scored.
const BATCH: usize = 64;
/// Exact vectors asked for ahead of the one being scored.
const AHEAD: usize = 8;

/// The order of hits: by score, largest first, equal scores by row.
pub(crate) fn best_first(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.row.cmp(&b.row))
}

/// Maps floats to integers in the same order (all finite; the sign of zero aside).
#[inline(always)]
pub(crate) fn sortable(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The inverse of [`sortable`].
#[inline(always)]
pub(crate) fn unsortable(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

/// Collects the best `k` hits of any number of blocks.
///
/// The floats' own rounding aside, the result is exact: a node is dropped only when the upper bound of its score lies below the lower bounds
/// of `k` others.
pub(crate) struct Best {
    k: usize,
    /// The `k` largest lower bounds so far, as sortable integers, least first.
    lower_bounds: BinaryHeap<Reverse<u32>>,
    /// The `k`-th largest lower bound.
    threshold: f32,
    candidates: Vec<(f32, u32)>,
    hits: Vec<Hit>,
    /// Vectors scored.
    pub(crate) scored: usize,
}

impl Best {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            lower_bounds: BinaryHeap::new(),
            threshold: f32::NEG_INFINITY,
            candidates: Vec::new(),
            hits: Vec::new(),
            scored: 0,
        }
    }

    /// Scores `nodes` of one block, all with rows, in any order: the way where few pass.
    pub(crate) fn scan_picked(&mut self, vectors: &Vectors, query: &Query<'_>, mut nodes: impl Iterator<Item = u32>) {
        loop {
            let (mut ids, mut len) = ([0; BATCH], 0);
            for (place, node) in ids.iter_mut().zip(nodes.by_ref()) {
                vectors.codes.prefetch(node);
                *place = node;
                len += 1;
            }
            if len == 0 {
                break;
            }
            self.score(vectors, query, &ids[..len]);
        }
        self.settle(vectors, query);
    }

    /// Scores the nodes of one block that pass, which have rows, in memory order: the way where much passes.
    pub(crate) fn scan_passing(&mut self, vectors: &Vectors, query: &Query<'_>, passes: impl Fn(u32) -> bool) {
        let nodes = vectors.len() as u32;
        for start in (0..nodes).step_by(BATCH) {
            let (mut ids, mut len) = ([0; BATCH], 0);
            // Without branches: which nodes pass cannot be predicted.
            for node in start..nodes.min(start + BATCH as u32) {
                ids[len] = node;
                len += usize::from(passes(node));
            }
            self.score(vectors, query, &ids[..len]);
        }
        self.settle(vectors, query);
    }

    fn score(&mut self, vectors: &Vectors, query: &Query<'_>, ids: &[u32]) {
        let (mut sums, mut scores) = ([0; BATCH], [0.0; BATCH]);
        let error_factor = query.codes.error_factor();
        self.scored += ids.len();
        vectors.codes.score(&query.codes, ids, &mut sums, &mut scores);
        for (&node, &score) in ids.iter().zip(&scores) {
            let error = vectors.codes.scale(node) * error_factor;
            if score + error >= self.threshold {
                self.candidates.push((score + error, node));
                self.raise_threshold(score - error);
            }
        }
    }

    /// Makes hits of the candidates of one block.
    fn settle(&mut self, vectors: &Vectors, query: &Query<'_>) {
        self.candidates.retain(|&(upper, _)| upper >= self.threshold);
        let candidates = std::mem::take(&mut self.candidates);
        self.offer(vectors, query, candidates.iter().map(|&(_, node)| node));
        self.candidates = candidates;
        self.candidates.clear();
    }

    /// Offers nodes of one block whose scores by codes are known.
    pub(crate) fn offer_scored(
        &mut self,
        vectors: &Vectors,
        query: &Query<'_>,
        scored: impl Iterator<Item = (u32, f32)> + Clone,
    ) {
        let error_factor = query.codes.error_factor();
        for (node, score) in scored.clone() {
            self.raise_threshold(score - vectors.codes.scale(node) * error_factor);
        }
        let threshold = self.threshold;
        let close = scored.filter(|&(node, score)| score + vectors.codes.scale(node) * error_factor >= threshold);
        self.offer(vectors, query, close.map(|(node, _)| node));
    }

    /// Scores `nodes` of one block by their floats; those without a row are passed over.
    pub(crate) fn offer(&mut self, vectors: &Vectors, query: &Query<'_>, nodes: impl Iterator<Item = u32> + Clone) {
        for ahead in nodes.clone().take(AHEAD) {
            super::kernel::prefetch(vectors.vector(ahead), 0, vectors.dim);
        }
        let mut ahead = nodes.clone().skip(AHEAD);
        for node in nodes {
            if let Some(ahead) = ahead.next() {
                super::kernel::prefetch(vectors.vector(ahead), 0, vectors.dim);
            }
            let row = vectors.row(node);
            if row != NO_ROW {
                self.hits.push(Hit { row, score: query.score(vectors, node) });
            }
        }
    }

    /// The best `k`, in order.
    pub(crate) fn finish(mut self) -> Vec<Hit> {
        if self.hits.len() > self.k && self.k > 0 {
            self.hits.select_nth_unstable_by(self.k - 1, best_first);
        }
        self.hits.truncate(self.k);
        self.hits.sort_unstable_by(best_first);
        self.hits
    }

    fn raise_threshold(&mut self, lower: f32) {
        if self.lower_bounds.len() >= self.k {
            if lower <= self.threshold {
                return;
            }
            self.lower_bounds.pop();
        }
        self.lower_bounds.push(Reverse(sortable(lower)));
        if let (true, Some(Reverse(least))) = (self.lower_bounds.len() == self.k, self.lower_bounds.peek()) {
            self.threshold = unsortable(*least);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_integer_order_of_floats_is_their_order(a in -1e9f32..1e9, b in -1e9f32..1e9) {
            prop_assert_eq!(a.total_cmp(&b), sortable(a).cmp(&sortable(b)));
            prop_assert_eq!(unsortable(sortable(a)).to_bits(), a.to_bits());
        }

        #[test]
        fn a_scan_finds_what_scoring_every_float_finds(
            (vectors, query) in (1usize..40).prop_flat_map(|dim| (
                proptest::collection::vec(proptest::collection::vec(-2f32..2.0, dim), 0..200),
                proptest::collection::vec(-2f32..2.0, dim),
            )),
            k in 1usize..30,
            hidden in 0u32..10,
        ) {
            let rows: Vec<u32> = (0..vectors.len() as u32).map(|row| if row % 10 == hidden { NO_ROW } else { row }).collect();
            let block = Vectors::new(query.len(), vectors.concat(), rows.clone()).unwrap();
            let query = Query::new(&query);
            let mut truth: Vec<Hit> = (0..rows.len() as u32)
                .filter(|&node| block.row(node) != NO_ROW)
                .map(|node| Hit { row: node, score: query.score(&block, node) })
                .collect();
            truth.sort_by(best_first);
            truth.truncate(k);
            let mut best = Best::new(k);
            best.scan_passing(&block, &query, |node| block.row(node) != NO_ROW);
            prop_assert_eq!(best.finish(), truth.clone());
            let mut best = Best::new(k);
            best.scan_picked(&block, &query, (0..rows.len() as u32).rev().filter(|&node| block.row(node) != NO_ROW));
            prop_assert_eq!(best.finish(), truth);
        }
    }
}
