//! From a history to a user vector at request time, exactly as training would solve that user: for ALS the same
//! normal equations in the basis the item factors already stand in, for the normalised SVD a weighted sum. The
//! encoder is small (a few numbers a component, or one an item) and serialises to bytes:
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 0..8 | magic `TMENCODE` |
//! | 8..12 | format version, u32 LE (1) |
//! | 12..16 | model, u32 LE: 1 ALS, 2 normalised SVD |
//! | 16..20 | rank, u32 LE |
//! | 20..28 | items, u64 LE |
//! | 28.. | ALS: α₀, λ, ν, then α₀Λ per component; SVD: scale per item; all f32 LE |

use crate::als::ridge::{History, Ridge, Solver, Workspace};
use crate::als::{MAX_RANK, Penalty};
use crate::error::{ModelError, Side};
use crate::kernels::Kernels;
use crate::matrix::Matrix;

const MAGIC: &[u8; 8] = b"TMENCODE";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 28;

/// Makes user vectors that go with one set of item factors.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryEncoder {
    rank: usize,
    items: usize,
    model: Model,
}

#[derive(Debug, Clone, PartialEq)]
enum Model {
    /// The items' half of the normal equations: α₀ times the eigenvalues of HᵀH, in whose basis H stands.
    Als { penalty: Penalty, energies: Vec<f32> },
    /// What each item factor is multiplied by in the sum.
    Svd { scales: Vec<f32> },
}

impl QueryEncoder {
    pub(crate) fn for_als(rank: usize, penalty: Penalty, energies: Vec<f32>) -> Self {
        Self { rank, items: penalty.fixed_rows, model: Model::Als { penalty, energies } }
    }

    pub(crate) fn for_svd(rank: usize, scales: Vec<f32>) -> Self {
        Self { rank, items: scales.len(), model: Model::Svd { scales } }
    }

    /// Components of a user vector.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of items of the factors this encoder goes with.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The vector of a user with this history of (item row, weight), repeated items adding up. An empty history
    /// gives the zero vector. Cost grows with the history; callers bound its length.
    pub fn user_vector(&self, item_factors: &Matrix, history: &[(u32, f32)]) -> Result<Vec<f32>, ModelError> {
        self.check_factors(item_factors)?;
        let (rows, weights) = self.merged(history)?;
        let mut vector = vec![0f32; self.rank];
        match &self.model {
            Model::Als { penalty, energies } => {
                let ridge = Ridge { factors: item_factors.as_slice(), rank: self.rank, energies };
                let (method, _) = Solver::Exact.choose(rows.len(), self.rank);
                let history = History { rows: &rows, weights: &weights };
                let lambda = penalty.of_row(rows.len());
                ridge.solve(method, history, lambda, &mut Workspace::default(), &mut vector).map_err(|component| {
                    ModelError::Singular { side: Side::User, row: 0, component, regularization: lambda }
                })?;
            }
            Model::Svd { scales } => {
                for (row, weight) in rows.iter().zip(&weights) {
                    let (item, factor) = (*row as usize, weight * scales[*row as usize]);
                    Kernels::get().axpy(factor, item_factors.row(item), &mut vector);
                }
            }
        }
        if vector.iter().any(|v| !v.is_finite()) {
            return Err(ModelError::NotFinite { what: "user vector", row: 0 });
        }
        Ok(vector)
    }

    /// Checks that this encoder goes with these item factors; for use once, at load.
    pub fn check_factors(&self, item_factors: &Matrix) -> Result<(), ModelError> {
        for (what, expected, found) in [
            ("number of columns of the item factors", self.rank, item_factors.cols()),
            ("number of rows of the item factors", self.items, item_factors.rows()),
        ] {
            if expected != found {
                return Err(ModelError::Shape { what, expected, found });
            }
        }
        Ok(())
    }

    /// Distinct items in ascending order and the sums of their weights, as training sees them.
    fn merged(&self, history: &[(u32, f32)]) -> Result<(Vec<u32>, Vec<f32>), ModelError> {
        for (item, weight) in history {
            if *item as usize >= self.items {
                return Err(ModelError::OutOfRange { side: Side::Item, index: *item, len: self.items });
            }
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(ModelError::Weight { user: None, item: *item, weight: *weight });
            }
        }
        let mut sorted = history.to_vec();
        sorted.sort_by_key(|(item, _)| *item);
        sorted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        match sorted.iter().find(|(_, weight)| !weight.is_finite()) {
            Some((item, weight)) => Err(ModelError::Weight { user: None, item: *item, weight: *weight }),
            None => Ok(sorted.into_iter().unzip()),
        }
    }

    /// The bytes of the module's table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, values): (u32, Vec<f32>) = match &self.model {
            Model::Als { penalty, energies } => {
                let settings = [penalty.unobserved_weight, penalty.regularization, penalty.exponent];
                (1, settings.iter().chain(energies).copied().collect())
            }
            Model::Svd { scales } => (2, scales.clone()),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(tag.to_le_bytes());
        bytes.extend((self.rank as u32).to_le_bytes());
        bytes.extend((self.items as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes
    }

    /// Reads what [`QueryEncoder::to_bytes`] wrote; anything else is an error that says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let bad = |reason: String| ModelError::Format { what: "query encoder", reason };
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(bad(format!("{} bytes are fewer than its header's {HEADER_LEN}", bytes.len())));
        };
        if !header.starts_with(MAGIC) {
            return Err(bad("it does not start with TMENCODE".to_owned()));
        }
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if u32_at(8) != VERSION {
            return Err(bad(format!("its format version is {}; this build reads {VERSION}", u32_at(8))));
        }
        let (tag, rank) = (u32_at(12), u32_at(16) as usize);
        let items = (u64::from(u32_at(20)) | (u64::from(u32_at(24)) << 32)) as usize;
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(bad(format!("its rank is {rank}, not 1 to {MAX_RANK}")));
        }
        let expected = match tag {
            1 => 3 + rank,
            2 => items,
            other => return Err(bad(format!("its model is number {other}, which this build does not know"))),
        };
        if expected.checked_mul(4) != Some(body.len()) {
            return Err(bad(format!("{expected} values do not make its {} bytes after the header", body.len())));
        }
        let values: Vec<f32> = body.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(bad(format!("its value {at} is not finite")));
        }
        let model = match (tag, values.as_slice()) {
            (1, [unobserved_weight, regularization, exponent, energies @ ..]) => {
                if energies.iter().any(|e| *e < 0.0) || *unobserved_weight < 0.0 || *regularization < 0.0 {
                    return Err(bad("it holds a negative energy, weight or regularization".to_owned()));
                }
                let penalty = Penalty {
                    unobserved_weight: *unobserved_weight,
                    regularization: *regularization,
                    exponent: *exponent,
                    fixed_rows: items,
                };
                Model::Als { penalty, energies: energies.to_vec() }
            }
            _ => Model::Svd { scales: values },
        };
        Ok(Self { rank, items, model })
    }
}
