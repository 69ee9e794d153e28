//! The least-squares problem of one row, three ways. In the eigenbasis of the fixed side's Gram matrix G = QΛQᵀ a
//! row's regulariser D = α₀Λ + λI is diagonal. With A the history's factors, each scaled by √w and by D^-½
//! column-wise, s the vector of √w, and x = D^-½ t, the normal equations (D + Σ w h hᵀ) x = Σ w h become plain
//! ridge regression, min ‖s − A t‖² + ‖t‖²:
//!
//! - **primal**: (I + AᵀA) t = Aᵀs, rank × rank; for long histories;
//! - **dual**: t = Aᵀ(I + AAᵀ)⁻¹s, one equation per history entry; for short ones;
//! - **blocks**: one sweep over blocks of components of t, each solved exactly with the others held, from where t
//!   stands (Rendle, Krichene, Zhang, Koren 2021, "iALS++"); for long histories at high rank. The diagonal
//!   regulariser couples no two blocks, so no product with G is left in a sweep.

use crate::kernels::{Kernels, LANE, Panel, padded, prefetch, stride};

/// Components in one block of a sweep.
const BLOCK: usize = 64;
/// History entries gathered at a time by the primal and block solvers.
const PANEL_ROWS: usize = 128;
/// How many rows ahead of their use factors are fetched into the cache.
const AHEAD: usize = 4;

/// How a row's problem is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solver {
    /// The cheapest by a count of multiply-adds; blocks only where they cost less than half of an exact solve.
    Auto,
    /// The cheaper of primal and dual.
    Exact,
    /// Always rank × rank.
    Primal,
    /// Always history × history.
    Dual,
    /// Always one block sweep.
    Blocks,
}

/// A [`Solver`] after `Auto` and `Exact` are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Primal,
    Dual,
    Blocks,
}

impl Solver {
    /// The method for a history of `n` entries, and its cost in multiply-adds.
    pub(crate) fn choose(self, n: usize, rank: usize) -> (Method, u64) {
        let (n, d, k) = (n as u64, padded(rank) as u64, BLOCK as u64);
        let n8 = n.next_multiple_of(LANE as u64);
        let gather = 2 * n * d + 64;
        let primal = (Method::Primal, n * d * d / 2 + d * d * d / 6 + gather);
        let dual = (Method::Dual, n8 * n8 * d / 2 + n8 * n8 * n8 / 6 + gather);
        let blocks = (Method::Blocks, n * d * k / 2 + d * k * k / 6 + 4 * gather);
        let exact = if dual.1 <= primal.1 { dual } else { primal };
        match self {
            Solver::Primal => primal,
            Solver::Dual => dual,
            Solver::Blocks => blocks,
            Solver::Exact => exact,
            Solver::Auto if 2 * blocks.1 < exact.1 => blocks,
            Solver::Auto => exact,
        }
    }
}

/// Scratch memory, reused from row to row.
#[derive(Default)]
pub(crate) struct Workspace {
    /// D^-½, zero past the rank.
    scales: Vec<f32>,
    /// √w of each history entry.
    roots: Vec<f32>,
    panel: Vec<f32>,
    system: Vec<f32>,
    solution: Vec<f32>,
    /// s − A t, of a block sweep.
    residual: Vec<f32>,
    /// t, of a block sweep.
    current: Vec<f32>,
}

/// The fixed side of the problem: factors already rotated into their eigenbasis.
#[derive(Clone, Copy)]
pub(crate) struct Ridge<'a> {
    /// Row-major factors, in the eigenbasis of their Gram matrix.
    pub factors: &'a [f32],
    /// Columns of `factors`.
    pub rank: usize,
    /// α₀Λ.
    pub energies: &'a [f32],
}

/// One row's history.
#[derive(Clone, Copy)]
pub(crate) struct History<'a> {
    /// Rows of the fixed side; all exist.
    pub rows: &'a [u32],
    /// Their weights, finite and above zero.
    pub weights: &'a [f32],
}

impl Ridge<'_> {
    /// Solves one row into `x` (which a block sweep starts from). `Err(component)` names where the system broke
    /// down.
    pub(crate) fn solve(
        &self,
        method: Method,
        history: History<'_>,
        lambda: f32,
        ws: &mut Workspace,
        x: &mut [f32],
    ) -> Result<(), usize> {
        if history.rows.is_empty() {
            x.fill(0.0);
            return Ok(());
        }
        let width = padded(self.rank);
        ws.scales.clear();
        ws.scales.extend(self.energies.iter().map(|energy| 1.0 / (energy + lambda).sqrt()));
        if let Some(component) = ws.scales.iter().position(|scale| !scale.is_finite()) {
            return Err(component);
        }
        ws.roots.clear();
        ws.roots.extend(history.weights.iter().map(|w| w.sqrt()));
        ws.solution.clear();
        ws.solution.resize(width, 0.0);
        match method {
            Method::Primal => self.primal(history, ws)?,
            Method::Dual => self.dual(history, ws)?,
            Method::Blocks => self.blocks(history, ws, x)?,
        }
        for ((x, t), scale) in x.iter_mut().zip(&ws.solution).zip(&ws.scales) {
            *x = t * scale;
        }
        Ok(())
    }

    fn primal(&self, history: History<'_>, ws: &mut Workspace) -> Result<(), usize> {
        let kernels = Kernels::get();
        let (width, panel_stride) = (padded(self.rank), stride(self.rank));
        reset(&mut ws.system, width * panel_stride);
        for at in (0..history.rows.len()).step_by(PANEL_ROWS) {
            let rows = &history.rows[at..(at + PANEL_ROWS).min(history.rows.len())];
            let roots = &ws.roots[at..at + rows.len()];
            self.gather(rows, roots, &ws.scales, 0, &mut ws.panel);
            let panel = Panel { data: &ws.panel, rows: rows.len(), stride: panel_stride };
            kernels.rank_update(width, 1.0, panel, &mut ws.system, panel_stride);
            for (root, row) in roots.iter().zip(ws.panel.chunks(panel_stride)) {
                kernels.axpy(*root, &row[..width], &mut ws.solution);
            }
        }
        add_identity(&mut ws.system, width, panel_stride);
        kernels.cholesky(width, &mut ws.system, panel_stride)?;
        kernels.cholesky_solve(width, &ws.system, panel_stride, &mut ws.solution);
        Ok(())
    }

    fn dual(&self, history: History<'_>, ws: &mut Workspace) -> Result<(), usize> {
        let kernels = Kernels::get();
        let (width, panel_stride) = (padded(self.rank), stride(self.rank));
        let n = padded(history.rows.len());
        let system_stride = stride(n);
        if ws.system.len() < n * system_stride {
            ws.system.resize(n * system_stride, 0.0);
        }
        self.gather(history.rows, &ws.roots, &ws.scales, 0, &mut ws.panel);
        if ws.panel.len() < n * panel_stride {
            ws.panel.resize(n * panel_stride, 0.0);
        }
        ws.panel[history.rows.len() * panel_stride..n * panel_stride].fill(0.0);
        let panel = Panel { data: &ws.panel, rows: n, stride: panel_stride };
        kernels.row_gram(width, panel, &mut ws.system, system_stride);
        add_identity(&mut ws.system, n, system_stride);
        kernels.cholesky(n, &mut ws.system, system_stride).map_err(|_| 0usize)?;
        ws.roots.resize(n, 0.0);
        kernels.cholesky_solve(n, &ws.system, system_stride, &mut ws.roots);
        for (z, row) in ws.roots.iter().zip(ws.panel.chunks(panel_stride)).take(history.rows.len()) {
            kernels.axpy(*z, &row[..width], &mut ws.solution);
        }
        Ok(())
    }

    fn blocks(&self, history: History<'_>, ws: &mut Workspace, x: &[f32]) -> Result<(), usize> {
        let kernels = Kernels::get();
        ws.current.clear();
        ws.current.extend(x.iter().zip(&ws.scales).map(|(x, scale)| x / scale));
        // The residual needs x, not t: √w h·x.
        ws.residual.clear();
        ws.residual.extend(history.rows.iter().zip(&ws.roots).map(|(row, root)| {
            let row = *row as usize * self.rank;
            root * (1.0 - kernels.dot(&self.factors[row..row + self.rank], x))
        }));
        for first in (0..self.rank).step_by(BLOCK) {
            let last = (first + BLOCK).min(self.rank);
            let (width, panel_stride) = (padded(last - first), stride(last - first));
            let scales = &ws.scales[first..last];
            reset(&mut ws.system, width * panel_stride);
            let step = &mut ws.solution[first..first + width];
            for at in (0..history.rows.len()).step_by(PANEL_ROWS) {
                let rows = &history.rows[at..(at + PANEL_ROWS).min(history.rows.len())];
                self.gather(rows, &ws.roots[at..at + rows.len()], scales, first, &mut ws.panel);
                let panel = Panel { data: &ws.panel, rows: rows.len(), stride: panel_stride };
                kernels.rank_update(width, 1.0, panel, &mut ws.system, panel_stride);
                for (residual, row) in ws.residual[at..].iter().zip(ws.panel.chunks(panel_stride)).take(rows.len()) {
                    kernels.axpy(*residual, &row[..width], step);
                }
            }
            step.iter_mut().zip(&ws.current[first..last]).for_each(|(g, t)| *g -= t);
            add_identity(&mut ws.system, width, panel_stride);
            kernels.cholesky(width, &mut ws.system, panel_stride).map_err(|pivot| first + pivot)?;
            kernels.cholesky_solve(width, &ws.system, panel_stride, step);
            if last < self.rank {
                // In x-space again: the change of √w h·x.
                let change = &mut ws.panel[..last - first];
                change.iter_mut().zip(step.iter().zip(scales)).for_each(|(c, (t, scale))| *c = t * scale);
                for ((row, root), residual) in history.rows.iter().zip(&ws.roots).zip(&mut ws.residual) {
                    let row = *row as usize * self.rank;
                    *residual -= root * kernels.dot(&self.factors[row + first..row + last], change);
                }
            }
        }
        ws.solution.iter_mut().zip(&ws.current).for_each(|(step, t)| *step += t);
        Ok(())
    }

    /// Writes √w · h[first..] · scale, one padded row per history entry.
    fn gather(&self, rows: &[u32], roots: &[f32], scales: &[f32], first: usize, panel: &mut Vec<f32>) {
        let kernels = Kernels::get();
        let (len, panel_stride) = (scales.len(), stride(scales.len()));
        if panel.len() < rows.len() * panel_stride {
            panel.resize(rows.len() * panel_stride, 0.0);
        }
        let part = |row: u32| {
            let from = row as usize * self.rank + first;
            &self.factors[from..from + len]
        };
        rows.iter().take(AHEAD).for_each(|row| prefetch(part(*row)));
        for (at, (root, to)) in roots.iter().zip(panel.chunks_mut(panel_stride)).enumerate() {
            if let Some(later) = rows.get(at + AHEAD) {
                prefetch(part(*later));
            }
            kernels.scale(*root, part(rows[at]), scales, &mut to[..len]);
            to[len..padded(len)].fill(0.0);
        }
    }
}

fn reset(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
}

fn add_identity(system: &mut [f32], n: usize, stride: usize) {
    system.iter_mut().step_by(stride + 1).take(n).for_each(|v| *v += 1.0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (rank, factors, weights, energies, lambda) of one row's problem over as many factors as weights.
    fn problem() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>, Vec<f32>, f32)> {
        (1usize..150, 1usize..150).prop_flat_map(|(rank, n)| {
            (
                Just(rank),
                prop::collection::vec(-1f32..1f32, rank * n),
                prop::collection::vec(0.1f32..5f32, n),
                prop::collection::vec(0f32..20f32, rank),
                0.5f32..5f32,
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_method_satisfies_the_normal_equations((rank, factors, weights, energies, lambda) in problem()) {
            let rows: Vec<u32> = (0..weights.len() as u32).collect();
            let history = History { rows: &rows, weights: &weights };
            let ridge = Ridge { factors: &factors, rank, energies: &energies };
            let mut ws = Workspace::default();
            for method in [Method::Primal, Method::Dual, Method::Blocks] {
                let sweeps = if method == Method::Blocks { 60 } else { 1 };
                let mut x = vec![0f32; rank];
                for _ in 0..sweeps {
                    ridge.solve(method, history, lambda, &mut ws, &mut x).unwrap();
                }
                // (D + Σ w h hᵀ) x = Σ w h, component by component.
                let h = |row: usize, c: usize| f64::from(factors[row * rank + c]);
                let scores: Vec<f64> = (0..rows.len())
                    .map(|row| (0..rank).map(|c| h(row, c) * f64::from(x[c])).sum()).collect();
                for c in 0..rank {
                    let observed: f64 = (0..rows.len())
                        .map(|row| f64::from(weights[row]) * h(row, c) * (scores[row] - 1.0)).sum();
                    let residual = f64::from(energies[c] + lambda) * f64::from(x[c]) + observed;
                    prop_assert!(residual.abs() < 0.02, "{:?}, component {}: {}", method, c, residual);
                }
            }
        }
    }

    #[test]
    fn the_cheapest_solver_is_chosen() {
        assert_eq!(Solver::Auto.choose(10, 64).0, Method::Dual);
        assert_eq!(Solver::Auto.choose(1000, 64).0, Method::Primal);
        assert_eq!(Solver::Auto.choose(5000, 512).0, Method::Blocks);
        assert_eq!(Solver::Exact.choose(5000, 512).0, Method::Primal);
    }

    #[test]
    fn without_any_regularisation_the_component_is_named() {
        let ridge = Ridge { factors: &[1.0, 0.0], rank: 2, energies: &[1.0, 0.0] };
        let history = History { rows: &[0], weights: &[1.0] };
        let mut x = [0.0; 2];
        assert_eq!(ridge.solve(Method::Dual, history, 0.0, &mut Workspace::default(), &mut x), Err(1));
    }
}
