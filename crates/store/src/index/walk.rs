//! Best-first walks through a graph, as used by searches and by the construction alike: they differ only in where neighbours are read from,
//! how nodes are scored, and which nodes count as found.

use super::scan::{sortable, unsortable};

/// The most neighbours a node may have.
pub(crate) const MAX_WIDTH: usize = 128;

/// Neighbour lists of one level.
pub(crate) trait Links {
    /// Copies the neighbours of `node` into `out`; returns how many there are.
    fn neighbours(&self, node: u32, out: &mut [u32; MAX_WIDTH]) -> usize;
    /// Asks for the memory of `node`'s list.
    fn prefetch(&self, node: u32);
}

/// Similarities to whatever is searched for; larger is nearer.
pub(crate) trait Scorer {
    /// Asks for what scoring `node` will read.
    fn prefetch(&self, node: u32);
    /// The similarity of each of `ids` (at most [`MAX_WIDTH`]) into the front of `out`.
    fn score(&mut self, ids: &[u32], out: &mut [f32; MAX_WIDTH]);
}

/// A scored node in one integer: by similarity first, then by node, with a mark in the lowest bit once its neighbours were visited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(u64);

impl Entry {
    #[inline(always)]
    pub(crate) fn new(score: f32, node: u32) -> Self {
        Self(u64::from(sortable(score)) << 32 | u64::from(node) << 1)
    }

    #[inline(always)]
    pub(crate) fn node(self) -> u32 {
        (self.0 as u32) >> 1
    }

    #[inline(always)]
    pub(crate) fn score(self) -> f32 {
        unsortable((self.0 >> 32) as u32)
    }

    #[inline(always)]
    fn is_expanded(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What one walk needs of memory; kept from walk to walk.
#[derive(Default)]
pub(crate) struct Scratch {
    /// One bit a node; all zero between walks.
    visited: Vec<u64>,
    /// The nodes scored by this walk, in order: those whose bits are set.
    order: Vec<u32>,
    /// The best nodes found, best first.
    pub(crate) pool: Vec<Entry>,
    /// Nodes whose neighbours are still to be visited, when they are not those of the pool.
    frontier: std::collections::BinaryHeap<Entry>,
}

impl Scratch {
    /// Readies it for a walk among `nodes` nodes.
    pub(crate) fn begin(&mut self, nodes: usize) {
        for node in self.order.drain(..) {
            self.visited[node as usize / 64] = 0;
        }
        if self.visited.len() < nodes.div_ceil(64) {
            self.visited.resize(nodes.div_ceil(64), 0);
        }
        self.pool.clear();
        self.frontier.clear();
    }

    /// Appends `node` to the order unless it is there already.
    #[inline(always)]
    fn visit(&mut self, node: u32) -> bool {
        let word = &mut self.visited[node as usize / 64];
        let bit = 1 << (node % 64);
        let new = *word & bit == 0;
        if new {
            *word |= bit;
            self.order.push(node);
        }
        new
    }

    /// Puts `entry` into the pool of at most `ef`; its place, if it is good enough.
    #[inline(always)]
    fn insert(&mut self, entry: Entry, ef: usize) -> Option<usize> {
        if self.pool.len() >= ef {
            if self.pool.last().is_none_or(|last| entry <= *last) {
                return None;
            }
            self.pool.pop();
        }
        let place = self.pool.partition_point(|other| *other > entry);
        self.pool.insert(place, entry);
        Some(place)
    }

    /// How many nodes the walk scored.
    pub(crate) fn scored(&self) -> usize {
        self.order.len()
    }
}

/// Walks from `entry` to a node none of whose neighbours is nearer.
pub(crate) fn descend(links: &impl Links, scorer: &mut impl Scorer, entry: u32) -> u32 {
    let (mut neighbours, mut scores) = ([0; MAX_WIDTH], [0.0; MAX_WIDTH]);
    scorer.score(&[entry], &mut scores);
    let mut best = Entry::new(scores[0], entry);
    loop {
        let len = links.neighbours(best.node(), &mut neighbours);
        let neighbours = &neighbours[..len];
        for &node in neighbours {
            scorer.prefetch(node);
        }
        scorer.score(neighbours, &mut scores);
        let nearest = neighbours.iter().zip(&scores).map(|(&node, &score)| Entry::new(score, node)).max();
        match nearest {
            Some(nearest) if nearest.0 >> 32 > best.0 >> 32 => best = nearest,
            _ => return best.node(),
        }
    }
}

/// Leaves the `ef` nearest nodes it meets in the pool, best first.
pub(crate) fn walk(
    links: &impl Links,
    scorer: &mut impl Scorer,
    scratch: &mut Scratch,
    nodes: usize,
    entries: &[u32],
    ef: usize,
) {
    scratch.begin(nodes);
    let (mut neighbours, mut scores) = ([0; MAX_WIDTH], [0.0; MAX_WIDTH]);
    for &entry in entries {
        if scratch.visit(entry) {
            scorer.score(&[entry], &mut scores);
            scratch.insert(Entry::new(scores[0], entry), ef);
        }
    }
    // The first node of the pool not yet expanded.
    let mut next = 0;
    while let Some(entry) = scratch.pool.get_mut(next) {
        let node = entry.node();
        entry.0 |= 1;
        let len = links.neighbours(node, &mut neighbours);
        let start = scratch.order.len();
        for &node in &neighbours[..len] {
            if scratch.visit(node) {
                scorer.prefetch(node);
            }
        }
        while scratch.pool.get(next).is_some_and(|entry| entry.is_expanded()) {
            next += 1;
        }
        if let Some(entry) = scratch.pool.get(next) {
            links.prefetch(entry.node());
        }
        let new = scratch.order.len() - start;
        scorer.score(&scratch.order[start..], &mut scores);
        for (index, &score) in scores[..new].iter().enumerate() {
            let node = scratch.order[start + index];
            if let Some(place) = scratch.insert(Entry::new(score, node), ef)
                && place <= next
            {
                next = place;
                links.prefetch(node);
            }
        }
    }
}

/// Leaves the `ef` nearest nodes that pass in the pool, best first, walking through all nodes. Gives up once more than `budget` nodes are scored;
/// whether it came to its end.
#[allow(clippy::too_many_arguments)]
pub(crate) fn walk_filtered(
    links: &impl Links,
    scorer: &mut impl Scorer,
    scratch: &mut Scratch,
    nodes: usize,
    entry: u32,
    ef: usize,
    budget: usize,
    passes: impl Fn(u32) -> bool,
) -> bool {
    scratch.begin(nodes);
    let (mut neighbours, mut scores) = ([0; MAX_WIDTH], [0.0; MAX_WIDTH]);
    scratch.visit(entry);
    scorer.score(&[entry], &mut scores);
    let entry = Entry::new(scores[0], entry);
    if passes(entry.node()) {
        scratch.insert(entry, ef);
    }
    scratch.frontier.push(entry);
    while let Some(entry) = scratch.frontier.pop() {
        if scratch.pool.len() >= ef && scratch.pool.last().is_some_and(|last| entry < *last) {
            break;
        }
        if scratch.order.len() > budget {
            return false;
        }
        let len = links.neighbours(entry.node(), &mut neighbours);
        let start = scratch.order.len();
        for &node in &neighbours[..len] {
            if scratch.visit(node) {
                scorer.prefetch(node);
            }
        }
        if let Some(entry) = scratch.frontier.peek() {
            links.prefetch(entry.node());
        }
        let new = scratch.order.len() - start;
        scorer.score(&scratch.order[start..], &mut scores);
        for (index, &score) in scores[..new].iter().enumerate() {
            let entry = Entry::new(score, scratch.order[start + index]);
            let worst = scratch.pool.last().copied();
            if scratch.pool.len() >= ef && worst.is_some_and(|worst| entry <= worst) {
                continue;
            }
            scratch.frontier.push(entry);
            if passes(entry.node()) {
                scratch.insert(entry, ef);
            }
        }
    }
    true
}
