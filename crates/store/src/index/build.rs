//! Construction of the graph, on several threads. A node has neighbours of two kinds. By inner product (Morozov & Babenko 2018, "Non-metric
//! similarity graphs for maximum inner product search"): a walk climbs along them to the large inner products quickly, but they all lead to vectors of
//! large norm, and a third of the nodes could never be reached by them alone. By distance, where the reduction of Bachrach et al. 2014
//! ("Speeding up the Xbox recommender system", eq. 3) makes inner products into one: with `S` the largest norm, a vector `x` stands at
//! `(x, sqrt(S² − |x|²))`, all on one sphere, and a query at `(q, 0)`, so that only construction sees the added component. They keep every node in
//! reach, which filters need.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{
    IndexError, MAX_EF, check_range,
    codes::{Codes, QueryCodes},
    graph::{Graph, Level, NONE},
    kernel,
    memory::Arena,
    reach,
    vectors::Vectors,
    walk::{self, Entry, Links, MAX_WIDTH, Scorer, Scratch},
};

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildOptions {
    /// Neighbours of a node on the upper levels (`M`); twice as many on the lowest. 2 to 64. More finds more, and takes more memory and time.
    pub neighbours: usize,
    /// Candidates considered for the neighbours of a new node (`ef` of construction).
    pub ef_construction: usize,
    /// Candidates a search keeps when it is not told.
    pub ef: usize,
    /// Threads to build on; 0: all cores.
    pub threads: usize,
    /// Seed of the random order of insertion.
    pub seed: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { neighbours: 16, ef_construction: 128, ef: 96, threads: 0, seed: 1 }
    }
}

impl BuildOptions {
    pub(crate) fn check(&self) -> Result<(), IndexError> {
        check_range("neighbours", self.neighbours, 2, MAX_WIDTH / 2)?;
        check_range("ef_construction", self.ef_construction, 1, MAX_EF)?;
        check_range("ef", self.ef, 1, MAX_EF)
    }

    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads.min(256),
        }
    }

    /// Nodes of each level above the lowest: every `M`-th of the level below.
    pub(crate) fn upper_levels(&self, nodes: usize) -> Vec<usize> {
        std::iter::successors(Some(nodes / self.neighbours), |above| Some(above / self.neighbours))
            .take_while(|&above| above >= 4)
            .collect()
    }
}

/// Builds the graph of `vectors`, whose first nodes are those of the upper levels; `order` is a permutation of the nodes, to insert in.
pub(crate) fn build(vectors: &Vectors, order: &[u32], options: &BuildOptions) -> Result<Graph, IndexError> {
    options.check()?;
    let builder = Builder::new(vectors, options);
    let turn = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads() {
            scope.spawn(|| {
                let mut workers = builder.affinities.each_ref().map(|affinity| Worker::new(&builder, affinity));
                let mut scratch = Scratch::default();
                while let Some(&node) = order.get(turn.fetch_add(1, Relaxed)) {
                    for worker in &mut workers {
                        worker.insert(node, &mut scratch);
                    }
                }
            });
        }
    });
    let mut levels = Vec::new();
    for level in &builder.levels {
        let mut links = Arena::zeroed(level.links.len())?;
        for (place, link) in links.as_mut_slice().iter_mut().zip(&level.links) {
            *place = link.load(Relaxed);
        }
        levels.push(Level::new(level.width, links));
    }
    let [_, distance] = &builder.affinities;
    if let Some(base) = levels.first_mut() {
        reach::connect(vectors, base, |node| {
            let mut scorer = ToNode::new(builder.codes, distance);
            scorer.aim(node);
            scorer
        });
    }
    Ok(Graph { levels, ef: options.ef })
}

/// A level under construction. Lists are written under their node's lock and read without: a reader may see a mix of an old and a new list,
/// every entry of which is a node.
struct Growing {
    width: usize,
    nodes: usize,
    links: Vec<AtomicU32>,
}

impl Growing {
    fn new(width: usize, nodes: usize) -> Self {
        Self { width, nodes, links: (0..width * nodes).map(|_| AtomicU32::new(NONE)).collect() }
    }

    fn list(&self, node: u32) -> &[AtomicU32] {
        let start = node as usize * self.width;
        self.links.get(start..start + self.width).unwrap_or_default()
    }

    /// Replaces the part `slots` of the list of `node`.
    fn set(&self, node: u32, slots: Range<usize>, neighbours: &[u32]) {
        let filled = neighbours.iter().copied().chain(std::iter::repeat(NONE));
        for (place, neighbour) in self.list(node)[slots].iter().zip(filled) {
            place.store(neighbour, Relaxed);
        }
    }
}

impl Links for Growing {
    #[inline(always)]
    fn neighbours(&self, node: u32, out: &mut [u32; MAX_WIDTH]) -> usize {
        let mut len = 0;
        for link in self.list(node) {
            let neighbour = link.load(Relaxed);
            out[len] = neighbour;
            len += usize::from(neighbour != NONE);
        }
        len
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        kernel::prefetch(&self.links, node as usize * self.width, self.width);
    }
}

struct Builder<'a> {
    codes: &'a Codes,
    affinities: [Affinity; 2],
    levels: Vec<Growing>,
    /// Locks for the lists of nodes, shared by nodes with equal numbers modulo their count.
    locks: Vec<Mutex<()>>,
    ef: usize,
}

impl<'a> Builder<'a> {
    fn new(vectors: &'a Vectors, options: &BuildOptions) -> Self {
        // The norms of what the codes stand for, as it is them that similarities are computed from.
        let squares: Vec<f32> = (0..vectors.len() as u32)
            .map(|node| {
                let sum: i32 = vectors.codes.vector(node).iter().map(|&code| i32::from(code) * i32::from(code)).sum();
                sum as f32 * vectors.codes.scale(node) * vectors.codes.scale(node)
            })
            .collect();
        let largest = squares.iter().fold(0f32, |largest, &square| largest.max(square));
        let affinities = [
            Affinity { heights: vec![0.0; squares.len()], quarters: 0..3 },
            Affinity {
                heights: squares.iter().map(|square| (largest - square).max(0.0).sqrt()).collect(),
                quarters: 3..4,
            },
        ];
        let mut levels = vec![Growing::new(options.neighbours * 2, vectors.len())];
        levels.extend(
            options.upper_levels(vectors.len()).into_iter().map(|nodes| Growing::new(options.neighbours, nodes)),
        );
        let locks = (0..vectors.len().clamp(1, 1 << 16)).map(|_| Mutex::new(())).collect();
        Self { codes: &vectors.codes, affinities, levels, locks, ef: options.ef_construction }
    }

    fn lock(&self, node: u32) -> parking_lot::MutexGuard<'_, ()> {
        self.locks[node as usize % self.locks.len()].lock()
    }
}

/// One of the two kinds of similarity, and its part of every neighbour list.
struct Affinity {
    /// The component added to each vector: zeros for the inner product alone.
    heights: Vec<f32>,
    /// The quarters of a list that hold neighbours of this kind.
    quarters: Range<usize>,
}

impl Affinity {
    fn slots(&self, width: usize) -> Range<usize> {
        width * self.quarters.start / 4..width * self.quarters.end / 4
    }
}

/// Scores nodes by similarity to one of them.
struct ToNode<'a> {
    codes: &'a Codes,
    heights: &'a [f32],
    query: QueryCodes,
    height: f32,
    sums: [i32; MAX_WIDTH],
}

impl<'a> ToNode<'a> {
    fn new(codes: &'a Codes, affinity: &'a Affinity) -> Self {
        let query = QueryCodes::of_vector(codes, 0);
        Self { codes, heights: &affinity.heights, query, height: 0.0, sums: [0; MAX_WIDTH] }
    }

    fn aim(&mut self, node: u32) {
        self.query.set_to_vector(self.codes, node);
        self.height = self.heights.get(node as usize).copied().unwrap_or(0.0);
    }
}

impl Scorer for ToNode<'_> {
    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
        kernel::prefetch(self.heights, node as usize, 1);
    }

    #[inline(always)]
    fn score(&mut self, ids: &[u32], out: &mut [f32; MAX_WIDTH]) {
        self.codes.score(&self.query, ids, &mut self.sums, out);
        for (&id, score) in ids.iter().zip(out) {
            *score += self.heights[id as usize] * self.height;
        }
    }
}

/// One thread's part in the construction, for one affinity.
struct Worker<'a> {
    builder: &'a Builder<'a>,
    affinity: &'a Affinity,
    /// Aimed at the node that is inserted.
    inserted: ToNode<'a>,
    /// Aimed at whatever else is compared.
    other: ToNode<'a>,
    candidates: Vec<Entry>,
}

impl<'a> Worker<'a> {
    fn new(builder: &'a Builder<'a>, affinity: &'a Affinity) -> Self {
        let scorer = || ToNode::new(builder.codes, affinity);
        Self { builder, affinity, inserted: scorer(), other: scorer(), candidates: Vec::new() }
    }

    fn insert(&mut self, node: u32, scratch: &mut Scratch) {
        if node == 0 {
            return; // Where every walk begins: others link to it.
        }
        self.inserted.aim(node);
        let mut entries = vec![0];
        for level in self.builder.levels.iter().rev() {
            if node as usize >= level.nodes {
                entries = vec![walk::descend(level, &mut self.inserted, entries[0])];
                continue;
            }
            walk::walk(level, &mut self.inserted, scratch, level.nodes, &entries, self.builder.ef);
            entries.clear();
            entries.extend(scratch.pool.iter().map(|entry| entry.node()).filter(|&met| met != node));
            self.candidates.clear();
            self.candidates.extend(scratch.pool.iter().filter(|entry| entry.node() != node));
            // Half of the slots, so that as many are left for nodes to come.
            let slots = self.affinity.slots(level.width);
            let chosen = self.choose(slots.len().div_ceil(2));
            {
                let _guard = self.builder.lock(node);
                level.set(node, slots.clone(), &chosen);
            }
            for &neighbour in &chosen {
                self.link(level, slots.clone(), neighbour, node);
            }
        }
    }

    /// Adds `new` to the list of `node`, which keeps the best choice of what is in it.
    fn link(&mut self, level: &Growing, slots: Range<usize>, node: u32, new: u32) {
        let _guard = self.builder.lock(node);
        let (mut list, mut len) = ([0; MAX_WIDTH], 0);
        for link in &level.list(node)[slots.clone()] {
            match link.load(Relaxed) {
                NONE => {
                    link.store(new, Relaxed);
                    return;
                }
                neighbour if neighbour == new => return,
                neighbour => list[len] = neighbour,
            }
            len += 1;
        }
        list[len] = new;
        let (list, mut scores) = (&list[..=len], [0.0; MAX_WIDTH]);
        self.other.aim(node);
        self.other.score(list, &mut scores);
        self.candidates.clear();
        self.candidates.extend(list.iter().zip(&scores).map(|(&node, &score)| Entry::new(score, node)));
        self.candidates.sort_unstable_by(|a, b| b.cmp(a));
        let chosen = self.choose(slots.len());
        level.set(node, slots, &chosen);
    }

    /// The neighbours to keep of the candidates, nearest first: those nearer to the node than to any neighbour already kept, so that lists reach in
    /// all directions (Malkov & Yashunin 2018, algorithm 4), then the nearest of the others.
    fn choose(&mut self, most: usize) -> Vec<u32> {
        let mut chosen = Vec::with_capacity(most);
        let mut others = Vec::with_capacity(most);
        let mut scores = [0.0; MAX_WIDTH];
        for candidate in &self.candidates {
            if chosen.len() == most {
                return chosen;
            }
            self.other.aim(candidate.node());
            self.other.score(&chosen, &mut scores);
            if scores[..chosen.len()].iter().all(|&score| score < candidate.score()) {
                chosen.push(candidate.node());
            } else if others.len() < most {
                others.push(candidate.node());
            }
        }
        others.truncate(most - chosen.len());
        chosen.append(&mut others);
        chosen
    }
}
