//! The numbering of nodes: near vectors get near numbers, so that a walk's reads share pages and caches. Numbers carry no other meaning than
//! that those of the upper levels come first.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use super::kernel;

/// Groups of this many vectors are not split further.
const LEAF: usize = 32;

/// Which vector (of `floats`, `dim` components each) becomes node 0, 1, and so on: `upper` random ones, then the others by place.
pub(crate) fn number(floats: &[f32], dim: usize, upper: usize, rng: &mut SmallRng) -> Vec<u32> {
    let mut all: Vec<u32> = (0..(floats.len() / dim) as u32).collect();
    let (chosen, others) = all.partial_shuffle(rng, upper);
    let mut order = chosen.to_vec();
    split(floats, dim, others, rng);
    order.extend_from_slice(others);
    order
}

/// Sorts `nodes` into two halves across the line between two random ones of them, and each half in turn.
fn split(floats: &[f32], dim: usize, nodes: &mut [u32], rng: &mut SmallRng) {
    if nodes.len() <= LEAF {
        return;
    }
    let vector = |node: u32| &floats[node as usize * dim..][..dim];
    let mut pick = || vector(nodes[rng.random_range(0..nodes.len())]);
    let direction: Vec<f32> = pick().iter().zip(pick()).map(|(a, b)| a - b).collect();
    let mut keyed: Vec<(f32, u32)> = nodes.iter().map(|&node| (kernel::dot(&direction, vector(node)), node)).collect();
    let middle = keyed.len() / 2;
    keyed.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0));
    for (place, (_, node)) in nodes.iter_mut().zip(keyed) {
        *place = node;
    }
    let (low, high) = nodes.split_at_mut(middle);
    split(floats, dim, low, rng);
    split(floats, dim, high, rng);
}

/// Rearranges `floats` so that the vector `order[i]` comes to place `i`.
pub(crate) fn rearrange(floats: Vec<f32>, dim: usize, order: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(floats.len());
    for &from in order {
        out.extend_from_slice(&floats[from as usize * dim..][..dim]);
    }
    out
}

/// The order of insertion: the upper levels first, both parts shuffled, node 0 first of all.
pub(crate) fn insertion(nodes: usize, upper: usize, rng: &mut SmallRng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..nodes as u32).collect();
    let (first, rest) = order.split_at_mut(upper.min(nodes));
    if let Some(first) = first.get_mut(1..) {
        first.shuffle(rng);
    }
    rest.shuffle(rng);
    order
}

/// The source of randomness of one build.
pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}
