//! Implicit alternating least squares with the iALS objective (Rendle, Krichene, Zhang, Koren 2022, "Revisiting the
//! performance of iALS on item recommendation benchmarks", eq. 1–3 with frequency-scaled regularisation). With users
//! u, items i, observed pairs S of weight w and factors x, h it minimises
//!
//! Σ_S w_ui (1 − x_u·h_i)² + α₀ Σ_u Σ_i (x_u·h_i)² + λ [Σ_u (n_u + α₀ I)^ν ‖x_u‖² + Σ_i (n_i + α₀ U)^ν ‖h_i‖²]
//!
//! where n counts a row's observed pairs, I the items, U the users. This file holds the settings and the
//! alternation; one row's problem is in `ridge`, the whole-matrix steps are in `gram`.

pub mod reference;
pub(crate) mod ridge;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::encoder::QueryEncoder;
use crate::error::{ModelError, Side, check_setting};
use crate::factorizer::{Factorization, Factorizer, Factors, Progress, Workers};
use crate::gram::{multiply_rows, rotate_into_eigenbasis};
use crate::interactions::{Csr, Interactions};
use crate::matrix::Matrix;
use crate::svd::sketch;
use ridge::{History, Method, Ridge, Workspace};

pub use ridge::Solver;

/// Largest accepted rank, of either factoriser.
pub const MAX_RANK: usize = 4096;
/// Pieces of equal cost that a half-iteration is cut into.
const PIECES: u64 = 512;

/// Settings of implicit ALS. The same data, settings and seed give the same factors bit for bit on one kind of CPU,
/// whatever the number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Als {
    /// Components of a vector, 1 to [`MAX_RANK`].
    pub rank: usize,
    /// Iterations; one solves all items, then all users.
    pub iterations: usize,
    /// α₀, the weight of every user–item cell, observed or not.
    pub unobserved_weight: f32,
    /// λ.
    pub regularization: f32,
    /// ν: 0 regularises all rows alike, 1 in proportion to their weight in the objective.
    pub regularization_exponent: f32,
    /// Root-mean-square length of the first user factors.
    pub init_scale: f32,
    /// Seed of the start.
    pub seed: u64,
    /// Threads; 0 uses the pool the caller runs in.
    pub threads: usize,
    /// How rows are solved.
    pub solver: Solver,
}

impl Default for Als {
    fn default() -> Self {
        Self {
            rank: 64,
            iterations: 6,
            unobserved_weight: 0.01,
            regularization: 0.006,
            regularization_exponent: 1.0,
            init_scale: 1.0,
            seed: 1,
            threads: 0,
            solver: Solver::Auto,
        }
    }
}

impl Als {
    fn check(&self) -> Result<(), ModelError> {
        let positive = |v: f32| v.is_finite() && v > 0.0;
        let not_negative = |v: f32| v.is_finite() && v >= 0.0;
        check_setting("rank", self.rank, (1..=MAX_RANK).contains(&self.rank), "from 1 to 4096")?;
        check_setting("iterations", self.iterations, self.iterations >= 1, "at least 1")?;
        let alpha = self.unobserved_weight;
        check_setting("unobserved_weight", alpha, not_negative(alpha), "a finite number, 0 or more")?;
        let lambda = self.regularization;
        check_setting("regularization", lambda, not_negative(lambda), "a finite number, 0 or more")?;
        let nu = self.regularization_exponent;
        check_setting("regularization_exponent", nu, nu.is_finite() && nu.abs() <= 4.0, "from -4 to 4")?;
        check_setting("init_scale", self.init_scale, positive(self.init_scale), "a finite number above 0")?;
        let threads = self.threads;
        check_setting("threads", threads, threads <= 1024, "at most 1024")
    }

    /// The first user factors, with rows of root-mean-square length `init_scale`: one power step of a degree-normalised
    /// randomised SVD. Near the leading subspace for the price of two sparse products, it saves more than a whole
    /// iteration over independent normals, and ranks better when the alternation is stopped early.
    fn start(&self, data: &Interactions) -> Result<Matrix, ModelError> {
        let mut factors = sketch(data, self.rank, self.seed)?;
        let energy: f64 = factors.as_slice().iter().map(|v| f64::from(*v).powi(2)).sum();
        let scale = f64::from(self.init_scale) * (data.users() as f64 / energy.max(f64::MIN_POSITIVE)).sqrt();
        factors.as_mut_slice().par_iter_mut().for_each(|v| *v *= scale as f32);
        Ok(factors)
    }

    fn penalty(&self, fixed_rows: usize) -> Penalty {
        Penalty {
            unobserved_weight: self.unobserved_weight,
            regularization: self.regularization,
            exponent: self.regularization_exponent,
            fixed_rows,
        }
    }
}

/// What keeps a row's solution small: everything of the normal equations but the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Penalty {
    pub unobserved_weight: f32,
    pub regularization: f32,
    pub exponent: f32,
    /// Rows of the fixed side.
    pub fixed_rows: usize,
}

impl Penalty {
    /// λ (n + α₀ N)^ν for a row of n distinct entries.
    pub(crate) fn of_row(&self, n: usize) -> f32 {
        let mass = n as f64 + f64::from(self.unobserved_weight) * self.fixed_rows as f64;
        (f64::from(self.regularization) * mass.powf(f64::from(self.exponent))) as f32
    }

    /// α₀Λ, from the eigenvalues of the fixed side's Gram matrix.
    pub(crate) fn energies(&self, eigenvalues: &[f32]) -> Vec<f32> {
        eigenvalues.iter().map(|value| self.unobserved_weight * value).collect()
    }
}

impl Factorizer for Als {
    fn fit(
        &self,
        data: &Interactions,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Factorization, ModelError> {
        self.check()?;
        if data.is_empty() {
            return Err(ModelError::Empty { users: data.users(), items: data.items() });
        }
        let workers = Workers::new(self.threads)?;
        let started = Instant::now();
        let mut outside = Duration::ZERO;
        let mut users = workers.run(|| self.start(data))?;
        let mut items = Matrix::zeros(data.items(), self.rank);
        let mut energies = Vec::new();
        let for_items = HalfStep { side: Side::Item, rows: data.by_item(), penalty: self.penalty(data.users()) };
        let for_users = HalfStep { side: Side::User, rows: data.by_user(), penalty: self.penalty(data.items()) };
        let mut swept = false;
        for iteration in 1..=self.iterations {
            let mut stop = false;
            for solved in [Side::Item, Side::User] {
                let done = workers.run(|| match solved {
                    Side::Item => for_items.run(&mut users, &mut items, self.solver),
                    Side::User => for_users.run(&mut items, &mut users, self.solver),
                })?;
                energies = done.energies;
                swept = done.swept;
                let paused = Instant::now();
                let state = Progress {
                    iteration,
                    iterations: self.iterations,
                    solved,
                    elapsed: paused - started - outside,
                    factors: Some(Factors { users: &users, items: &items }),
                };
                stop |= progress(state).is_break();
                outside += paused.elapsed();
            }
            if stop {
                break;
            }
        }
        // What is handed out agrees with what the encoder makes of the same history.
        if swept {
            workers.run(|| for_users.solve(&items, &mut users, &energies, Solver::Exact))?;
        }
        users.check_finite("user factors")?;
        items.check_finite("item factors")?;
        let encoder = QueryEncoder::for_als(self.rank, for_users.penalty, energies);
        Ok(Factorization { user_factors: users, item_factors: items, encoder })
    }
}

/// Solves every row of one side with the other held.
struct HalfStep<'a> {
    /// The side that is solved.
    side: Side,
    rows: &'a Csr,
    penalty: Penalty,
}

struct Solved {
    energies: Vec<f32>,
    swept: bool,
}

impl HalfStep<'_> {
    fn run(&self, fixed: &mut Matrix, target: &mut Matrix, solver: Solver) -> Result<Solved, ModelError> {
        let fixed_side = match self.side {
            Side::User => Side::Item,
            Side::Item => Side::User,
        };
        let (eigenvalues, rotation) = rotate_into_eigenbasis(fixed, fixed_side)?;
        let energies = self.penalty.energies(&eigenvalues);
        let rank = fixed.cols();
        let swept = (0..self.rows.rows()).any(|row| solver.choose(self.rows.row_len(row), rank).0 == Method::Blocks);
        if swept {
            multiply_rows(target, &rotation);
        }
        self.solve(fixed, target, &energies, solver)?;
        Ok(Solved { energies, swept })
    }

    /// Rows are cut into pieces of about equal cost, the dearest first, so that no thread is left with a long row
    /// at the end. No row depends on another, so the cut does not show in the result.
    fn solve(&self, fixed: &Matrix, target: &mut Matrix, energies: &[f32], solver: Solver) -> Result<(), ModelError> {
        let rank = fixed.cols();
        let ridge = Ridge { factors: fixed.as_slice(), rank, energies };
        let cost = |row: usize| solver.choose(self.rows.row_len(row), rank).1;
        let share = (0..self.rows.rows()).map(cost).sum::<u64>() / PIECES;
        let mut pieces = Vec::new();
        let (mut rest, mut first, mut spent) = (target.as_mut_slice(), 0, 0);
        for row in 0..self.rows.rows() {
            spent += cost(row);
            if spent >= share || row + 1 == self.rows.rows() {
                let (piece, tail) = rest.split_at_mut((row + 1 - first) * rank);
                pieces.push((spent, first, piece));
                (rest, first, spent) = (tail, row + 1, 0);
            }
        }
        pieces.sort_by_key(|(cost, first, _)| (std::cmp::Reverse(*cost), *first));
        pieces.into_par_iter().with_max_len(1).try_for_each(|(_, first, piece)| {
            let mut workspace = Workspace::default();
            for (row, x) in (first..).zip(piece.chunks_mut(rank)) {
                let (columns, weights) = self.rows.row(row);
                let history = History { rows: columns, weights };
                let lambda = self.penalty.of_row(columns.len());
                let (method, _) = solver.choose(columns.len(), rank);
                ridge.solve(method, history, lambda, &mut workspace, x).map_err(|component| ModelError::Singular {
                    side: self.side,
                    row,
                    component,
                    regularization: lambda,
                })?;
            }
            Ok(())
        })
    }
}
