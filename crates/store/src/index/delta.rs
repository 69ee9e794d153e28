//! The vectors that changed since the large block was made: small blocks of slots, copied one at a time on a change, so that a reader's
//! snapshot never changes under it. Which row is in which slot is the writer's knowledge.

use std::{io, sync::Arc};

use super::{
    NO_ROW,
    codes::Codes,
    memory::Floats,
    scan::Best,
    vectors::{Query, Vectors},
};
use crate::Bitmap;

/// Vectors a chunk holds: what one change copies.
const CHUNK: usize = 128;

/// Changed vectors by slot. A clone shares its chunks.
#[derive(Clone, Default)]
pub(crate) struct Delta {
    chunks: Vec<Arc<Vectors>>,
}

impl Delta {
    /// Puts a row and its vector, checked before, into `slot`, which is at most one past the last; or frees the slot.
    pub(crate) fn set(&mut self, slot: u32, dim: usize, entry: Option<(u32, &[f32])>) -> io::Result<()> {
        let (chunk, place) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let mut copy = match self.chunks.get(chunk) {
            Some(chunk) => Vectors {
                dim,
                codes: chunk.codes.try_clone()?,
                floats: Floats::Owned(chunk.floats.as_slice().to_vec()),
                rows: chunk.rows.clone(),
            },
            None => Vectors {
                dim,
                codes: Codes::zeroed(dim, CHUNK)?,
                floats: Floats::Owned(vec![0.0; CHUNK * dim]),
                rows: vec![NO_ROW; CHUNK],
            },
        };
        if let (Some(row), Floats::Owned(floats)) = (copy.rows.get_mut(place), &mut copy.floats) {
            *row = entry.map_or(NO_ROW, |(row, _)| row);
            if let (Some((_, vector)), Some(floats)) = (entry, floats.get_mut(place * dim..(place + 1) * dim)) {
                floats.copy_from_slice(vector);
                copy.codes.set(place, vector);
            }
        }
        match self.chunks.get_mut(chunk) {
            Some(place) => *place = Arc::new(copy),
            None => self.chunks.push(Arc::new(copy)),
        }
        Ok(())
    }

    /// The vector of `row`.
    pub(crate) fn vector(&self, row: u32) -> Option<&[f32]> {
        self.chunks.iter().find_map(|chunk| {
            let place = chunk.rows.iter().position(|&r| r == row)?;
            Some(chunk.vector(place as u32))
        })
    }

    /// All rows and their vectors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[f32])> {
        self.chunks.iter().flat_map(|chunk| {
            chunk
                .rows
                .iter()
                .enumerate()
                .filter(|(_, row)| **row != NO_ROW)
                .map(|(place, &row)| (row, chunk.vector(place as u32)))
        })
    }

    /// Offers `best` the rows that pass.
    pub(crate) fn scan(&self, query: &Query<'_>, filter: Option<&Bitmap>, best: &mut Best) {
        for chunk in &self.chunks {
            best.scan_passing(chunk, query, |place| {
                let row = chunk.row(place);
                row != NO_ROW && filter.is_none_or(|filter| filter.contains(row))
            });
        }
    }
}
