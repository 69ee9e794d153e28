//! The graph: hierarchical navigable small worlds (Malkov & Yashunin 2018), in a layout made for reading. A node of a high level has a low
//! number, so a level is just the first so many nodes, needing no maps; each level is one array of fixed-width neighbour lists.

use std::cell::RefCell;

use super::{
    IndexError,
    codes::Codes,
    file::IndexFile,
    kernel,
    memory::Arena,
    vectors::{Query, Vectors},
    walk::{self, Links, MAX_WIDTH, Scorer, Scratch},
};

/// Fills the unused places of a neighbour list.
pub(crate) const NONE: u32 = u32::MAX;

const SHAPE: u32 = 5;
const LINKS: u32 = 16;
const MAX_LEVELS: usize = 16;

/// Neighbour lists of the nodes `0..len` of one level.
pub(crate) struct Level {
    width: usize,
    links: Arena<u32>,
}

impl Level {
    pub(crate) fn new(width: usize, links: Arena<u32>) -> Self {
        Self { width, links }
    }

    /// Puts `neighbour` into a free place of the list of `node`; whether there was one.
    pub(crate) fn add(&mut self, node: u32, neighbour: u32) -> bool {
        let start = node as usize * self.width;
        let list = self.links.as_mut_slice().get_mut(start..start + self.width).unwrap_or_default();
        let free = list.iter_mut().find(|place| **place == NONE);
        free.map(|place| *place = neighbour).is_some()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.links.as_slice().len() / self.width
    }
}

impl Links for Level {
    #[inline(always)]
    fn neighbours(&self, node: u32, out: &mut [u32; MAX_WIDTH]) -> usize {
        let start = node as usize * self.width;
        let list = self.links.as_slice().get(start..start + self.width).unwrap_or_default();
        let mut len = 0;
        // Without branches: which places are unused cannot be predicted.
        for &neighbour in list {
            out[len] = neighbour;
            len += usize::from(neighbour != NONE);
        }
        len
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        kernel::prefetch(self.links.as_slice(), node as usize * self.width, self.width);
    }
}

/// All levels, level 0 (every node) first. A walk begins at node 0, which is in all of them.
pub(crate) struct Graph {
    pub(crate) levels: Vec<Level>,
    /// The `ef` a search uses when it is not told.
    pub(crate) ef: usize,
}

impl Graph {
    /// Leaves the `ef` nodes nearest to `query` in the pool of `scratch`, as far as a walk finds them.
    pub(crate) fn search(&self, vectors: &Vectors, query: &Query<'_>, ef: usize, scratch: &mut Scratch) {
        scratch.begin(vectors.len());
        let mut scorer = ByCodes::new(&vectors.codes, query);
        if let Some((entry, base)) = self.approach(&mut scorer) {
            walk::walk(base, &mut scorer, scratch, vectors.len(), &[entry], ef);
        }
    }

    /// Like [`search`](Self::search), among the nodes that pass; `false` when more than `budget` nodes were scored before it came to an end.
    pub(crate) fn search_filtered(
        &self,
        vectors: &Vectors,
        query: &Query<'_>,
        ef: usize,
        budget: usize,
        scratch: &mut Scratch,
        passes: impl Fn(u32) -> bool,
    ) -> bool {
        scratch.begin(vectors.len());
        let mut scorer = ByCodes::new(&vectors.codes, query);
        let Some((entry, base)) = self.approach(&mut scorer) else { return true };
        walk::walk_filtered(base, &mut scorer, scratch, vectors.len(), entry, ef, budget, passes)
    }

    /// Descends to level 0: where to enter it, and the level itself; nothing in an empty graph.
    fn approach(&self, scorer: &mut ByCodes<'_>) -> Option<(u32, &Level)> {
        let (base, upper) = self.levels.split_first()?;
        if base.nodes() == 0 {
            return None;
        }
        Some((upper.iter().rev().fold(0, |entry, level| walk::descend(level, scorer, entry)), base))
    }

    /// The sections that hold the graph in a file; `shape` is scratch that outlives them.
    pub(crate) fn sections<'a>(&'a self, shape: &'a mut Vec<u32>) -> Vec<(u32, &'a [u8])> {
        *shape = vec![self.ef as u32, self.levels.len() as u32];
        for level in &self.levels {
            shape.extend([level.width as u32, level.nodes() as u32]);
        }
        let mut sections: Vec<(u32, &[u8])> = vec![(SHAPE, bytemuck::cast_slice(shape))];
        for (number, level) in self.levels.iter().enumerate() {
            sections.push((LINKS + number as u32, bytemuck::cast_slice(level.links.as_slice())));
        }
        sections
    }

    /// Reads the sections; every neighbour of every list is found to be a node of its level.
    pub(crate) fn read(file: &IndexFile) -> Result<Self, IndexError> {
        let damaged = || file.corrupt("the graph's shape is impossible");
        let (ef, count) = match file.values::<u32>(SHAPE)? {
            [ef, count, ..] => (*ef as usize, *count as usize),
            _ => return Err(damaged()),
        };
        let shape = file.section::<u32>(SHAPE, 2 + 2 * count.min(MAX_LEVELS))?;
        let mut levels = Vec::new();
        let mut above = usize::MAX;
        for (number, level) in shape[2..].chunks_exact(2).enumerate() {
            let (width, nodes) = (level[0] as usize, level[1] as usize);
            let fits = if number == 0 { nodes == file.nodes } else { nodes <= above && nodes > 0 };
            if !(1..=MAX_WIDTH).contains(&width) || !fits {
                return Err(damaged());
            }
            above = nodes;
            let links = file.section::<u32>(LINKS + number as u32, nodes * width)?;
            if !links.iter().all(|&neighbour| neighbour == NONE || (neighbour as usize) < nodes) {
                return Err(file.corrupt("a neighbour is not a node of its level"));
            }
            levels.push(Level::new(width, Arena::copy_of(links)?));
        }
        if levels.is_empty() || !(1..=super::MAX_EF).contains(&ef) {
            return Err(damaged());
        }
        Ok(Self { levels, ef })
    }
}

/// Scores nodes by their codes.
struct ByCodes<'a> {
    codes: &'a Codes,
    query: &'a Query<'a>,
    sums: [i32; MAX_WIDTH],
}

impl<'a> ByCodes<'a> {
    fn new(codes: &'a Codes, query: &'a Query<'a>) -> Self {
        Self { codes, query, sums: [0; MAX_WIDTH] }
    }
}

impl Scorer for ByCodes<'_> {
    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
    }

    #[inline(always)]
    fn score(&mut self, ids: &[u32], out: &mut [f32; MAX_WIDTH]) {
        self.codes.score(&self.query.codes, ids, &mut self.sums, out);
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs `search` with the thread's scratch memory.
pub(crate) fn with_scratch<T>(search: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => search(&mut scratch),
        Err(_) => search(&mut Scratch::default()),
    })
}
