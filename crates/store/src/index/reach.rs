//! The last step of construction: links to nodes that no walk would come by. Competition for places in neighbour lists leaves some nodes, often of
//! small norm, in nobody's list; a filter may want exactly them.

use super::{
    graph::{Level, NONE},
    vectors::Vectors,
    walk::{self, Links, MAX_WIDTH, Scorer, Scratch},
};

/// Nearest reached nodes tried for a free place.
const TRIED: usize = 64;

/// Puts nodes that cannot be reached from node 0 into free places of lists near them. `aim` makes a scorer by similarity to a node.
pub(crate) fn connect<S: Scorer>(vectors: &Vectors, level: &mut Level, mut aim: impl FnMut(u32) -> S) {
    let mut reached = vec![false; vectors.len()];
    spread(level, &mut reached, 0);
    let mut scratch = Scratch::default();
    for node in 0..vectors.len() as u32 {
        if reached[node as usize] {
            continue;
        }
        // A walk from node 0 meets only reached nodes.
        walk::walk(level, &mut aim(node), &mut scratch, vectors.len(), &[0], TRIED);
        let near = scratch.pool.iter().map(|entry| entry.node());
        if near.into_iter().any(|from| level.add(from, node)) {
            spread(level, &mut reached, node);
        }
    }
}

/// Marks `from` and all that is reached from it.
fn spread(level: &Level, reached: &mut [bool], from: u32) {
    let mut open = vec![from];
    let mut neighbours = [NONE; MAX_WIDTH];
    while let Some(node) = open.pop() {
        if let Some(mark @ false) = reached.get_mut(node as usize) {
            *mark = true;
            let len = level.neighbours(node, &mut neighbours);
            open.extend_from_slice(&neighbours[..len]);
        }
    }
}
