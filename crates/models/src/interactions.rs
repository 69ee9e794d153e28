//! Who interacted with what, as two compressed sparse orientations (by user, by item) of one weighted matrix.
//! Eight bytes an interaction and orientation: 100 million take 1.6 GB. Ids, event types and time are the
//! caller's; here a user and an item are row numbers.

use rayon::prelude::*;

use crate::error::{ModelError, Side};

/// One orientation: for each row, its columns in ascending order and their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f32>,
}

impl Csr {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of stored cells.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Columns (ascending, distinct) and weights of one row.
    ///
    /// # Panics
    /// If `row >= self.rows()`.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.columns[range.clone()], &self.weights[range])
    }

    /// Number of cells in one row.
    ///
    /// # Panics
    /// If `row >= self.rows()`.
    pub fn row_len(&self, row: usize) -> usize {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// Sum of the weights of each row: its weighted degree.
    pub fn weighted_degrees(&self) -> Vec<f64> {
        (0..self.rows()).map(|row| self.row(row).1.iter().map(|w| f64::from(*w)).sum()).collect()
    }

    fn transposed(&self, columns: usize) -> Csr {
        let mut offsets = vec![0usize; columns + 1];
        for column in &self.columns {
            offsets[*column as usize + 1] += 1;
        }
        for i in 0..columns {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut rows = vec![0u32; self.len()];
        let mut weights = vec![0f32; self.len()];
        for row in 0..self.rows() {
            let (row_columns, row_weights) = self.row(row);
            for (column, weight) in row_columns.iter().zip(row_weights) {
                let slot = &mut next[*column as usize];
                rows[*slot] = row as u32;
                weights[*slot] = *weight;
                *slot += 1;
            }
        }
        Csr { offsets, columns: rows, weights }
    }
}

/// A users × items matrix of interaction weights, readable by user and by item.
#[derive(Debug, Clone, PartialEq)]
pub struct Interactions {
    by_user: Csr,
    by_item: Csr,
}

/// Triplets are buffered in blocks of this many, so that growing never copies what is there.
const TRIPLET_BLOCK: usize = 1 << 20;

impl Interactions {
    /// Collects (user, item, weight) triplets in any order; repeated pairs add up. Weights must be finite and
    /// above zero, rows within `users` × `items`.
    ///
    /// Peak memory is about 20 bytes a triplet.
    pub fn from_triplets(
        users: usize,
        items: usize,
        triplets: impl IntoIterator<Item = (u32, u32, f32)>,
    ) -> Result<Self, ModelError> {
        for (name, rows) in [("users", users), ("items", items)] {
            crate::error::check_setting(name, rows, rows <= u32::MAX as usize, "at most 4294967295")?;
        }
        let mut offsets = vec![0usize; users + 1];
        let mut blocks: Vec<Vec<(u32, u32, f32)>> = Vec::new();
        for (user, item, weight) in triplets {
            if user as usize >= users {
                return Err(ModelError::OutOfRange { side: Side::User, index: user, len: users });
            }
            if item as usize >= items {
                return Err(ModelError::OutOfRange { side: Side::Item, index: item, len: items });
            }
            if !(weight.is_finite() && weight > 0.0) {
                return Err(ModelError::Weight { user: Some(user), item, weight });
            }
            offsets[user as usize + 1] += 1;
            match blocks.last_mut() {
                Some(block) if block.len() < TRIPLET_BLOCK => block.push((user, item, weight)),
                _ => {
                    let mut block = Vec::with_capacity(if blocks.is_empty() { 1024 } else { TRIPLET_BLOCK });
                    block.push((user, item, weight));
                    blocks.push(block);
                }
            }
        }
        for user in 0..users {
            offsets[user + 1] += offsets[user];
        }
        let mut next = offsets.clone();
        let mut columns = vec![0u32; offsets[users]];
        let mut weights = vec![0f32; offsets[users]];
        for block in blocks {
            for (user, item, weight) in block {
                let slot = &mut next[user as usize];
                columns[*slot] = item;
                weights[*slot] = weight;
                *slot += 1;
            }
        }
        drop(next);
        let by_user = sort_and_sum(offsets, columns, weights)?;
        let by_item = by_user.transposed(items);
        Ok(Self { by_user, by_item })
    }

    /// Number of users, those without interactions included.
    pub fn users(&self) -> usize {
        self.by_user.rows()
    }

    /// Number of items, those without interactions included.
    pub fn items(&self) -> usize {
        self.by_item.rows()
    }

    /// Number of distinct (user, item) pairs.
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    /// Rows are users, columns are items.
    pub fn by_user(&self) -> &Csr {
        &self.by_user
    }

    /// Rows are items, columns are users.
    pub fn by_item(&self) -> &Csr {
        &self.by_item
    }
}

/// Sorts each row by column and adds repeated columns up, in the order they came.
fn sort_and_sum(offsets: Vec<usize>, mut columns: Vec<u32>, mut weights: Vec<f32>) -> Result<Csr, ModelError> {
    let rows = offsets.len() - 1;
    let mut slices = Vec::with_capacity(rows);
    let (mut rest_columns, mut rest_weights) = (columns.as_mut_slice(), weights.as_mut_slice());
    for row in 0..rows {
        let len = offsets[row + 1] - offsets[row];
        let (row_columns, tail) = rest_columns.split_at_mut(len);
        rest_columns = tail;
        let (row_weights, tail) = rest_weights.split_at_mut(len);
        rest_weights = tail;
        slices.push((row_columns, row_weights));
    }
    let lens: Vec<usize> = slices
        .into_par_iter()
        .with_min_len(1024)
        .map_init(Vec::new, |cells, (row_columns, row_weights)| sort_and_sum_row(cells, row_columns, row_weights))
        .collect();

    let mut kept = vec![0usize; rows + 1];
    for row in 0..rows {
        let start = offsets[row];
        columns.copy_within(start..start + lens[row], kept[row]);
        weights.copy_within(start..start + lens[row], kept[row]);
        kept[row + 1] = kept[row] + lens[row];
    }
    columns.truncate(kept[rows]);
    weights.truncate(kept[rows]);
    if let Some(cell) = weights.iter().position(|w| !w.is_finite()) {
        let user = kept.partition_point(|offset| *offset <= cell) - 1;
        return Err(ModelError::Weight { user: Some(user as u32), item: columns[cell], weight: weights[cell] });
    }
    Ok(Csr { offsets: kept, columns, weights })
}

fn sort_and_sum_row(cells: &mut Vec<(u32, f32)>, columns: &mut [u32], weights: &mut [f32]) -> usize {
    if columns.is_sorted_by(|a, b| a < b) {
        return columns.len();
    }
    cells.clear();
    cells.extend(columns.iter().copied().zip(weights.iter().copied()));
    cells.sort_by_key(|(column, _)| *column);
    let mut len = 0;
    for (column, weight) in cells.iter() {
        if len > 0 && columns[len - 1] == *column {
            weights[len - 1] += weight;
        } else {
            columns[len] = *column;
            weights[len] = *weight;
            len += 1;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_pairs_add_up_and_rows_are_sorted() {
        let data = Interactions::from_triplets(3, 4, [(2, 3, 1.0), (0, 1, 2.0), (2, 0, 1.5), (2, 3, 4.0)]).unwrap();
        assert_eq!(data.by_user().row(0), (&[1][..], &[2.0][..]));
        assert_eq!(data.by_user().row(1), (&[][..], &[][..]));
        assert_eq!(data.by_user().row(2), (&[0, 3][..], &[1.5, 5.0][..]));
        assert_eq!(data.by_item().row(3), (&[2][..], &[5.0][..]));
        assert_eq!((data.users(), data.items(), data.len()), (3, 4, 3));
    }

    #[test]
    fn bad_triplets_are_named() {
        let build = |triplet| Interactions::from_triplets(2, 2, [triplet]).unwrap_err();
        assert_eq!(build((2, 0, 1.0)), ModelError::OutOfRange { side: Side::User, index: 2, len: 2 });
        assert_eq!(build((0, 9, 1.0)), ModelError::OutOfRange { side: Side::Item, index: 9, len: 2 });
        for weight in [0.0, -1.0, f32::INFINITY] {
            assert_eq!(build((1, 0, weight)), ModelError::Weight { user: Some(1), item: 0, weight });
        }
        assert!(matches!(build((1, 0, f32::NAN)), ModelError::Weight { user: Some(1), .. }));
        let overflow = Interactions::from_triplets(2, 2, [(1, 1, f32::MAX), (1, 1, f32::MAX)]).unwrap_err();
        assert_eq!(overflow, ModelError::Weight { user: Some(1), item: 1, weight: f32::INFINITY });
    }

    proptest! {
        #[test]
        fn both_orientations_hold_what_a_map_holds(
            triplets in prop::collection::vec((0u32..12, 0u32..9, 1u8..5), 0..200)
        ) {
            let mut expected: BTreeMap<(u32, u32), f32> = BTreeMap::new();
            for (user, item, weight) in &triplets {
                *expected.entry((*user, *item)).or_default() += f32::from(*weight);
            }
            let data = Interactions::from_triplets(
                12, 9, triplets.iter().map(|(u, i, w)| (*u, *i, f32::from(*w)))).unwrap();
            let cells = |csr: &Csr| {
                (0..csr.rows()).flat_map(|row| {
                    let (columns, weights) = csr.row(row);
                    columns.iter().zip(weights).map(move |(c, w)| ((row as u32, *c), *w)).collect::<Vec<_>>()
                }).collect::<Vec<_>>()
            };
            prop_assert_eq!(cells(data.by_user()), expected.clone().into_iter().collect::<Vec<_>>());
            let mut by_item = cells(data.by_item());
            by_item.iter_mut().for_each(|((i, u), _)| std::mem::swap(i, u));
            by_item.sort_by_key(|(cell, _)| *cell);
            prop_assert_eq!(by_item, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
