//! What every factoriser has in common: the trait, what it reports while it works, when to stop early, and what
//! comes out.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::encoder::QueryEncoder;
use crate::error::{ModelError, Side};
use crate::interactions::Interactions;
use crate::matrix::Matrix;

/// Learns user and item vectors whose inner product ranks items for a user.
pub trait Factorizer {
    /// Fits the interactions, calling `progress` after every half-iteration; `Break` ends training at the end of
    /// the running iteration.
    fn fit(
        &self,
        data: &Interactions,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Factorization, ModelError>;
}

/// Where training stands, after a half-iteration.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Iterations begun, counting from 1.
    pub iteration: usize,
    /// Iterations planned.
    pub iterations: usize,
    /// The side that was just solved; an iteration ends with [`Side::User`].
    pub solved: Side,
    /// Time spent training, without time spent in the callback.
    pub elapsed: Duration,
    /// The factors so far, where the model has any before it is done.
    pub factors: Option<Factors<'a>>,
}

/// Factors in the middle of training; they share a basis and can be evaluated as they are.
#[derive(Debug, Clone, Copy)]
pub struct Factors<'a> {
    /// Users × rank.
    pub users: &'a Matrix,
    /// Items × rank.
    pub items: &'a Matrix,
}

/// Fitted factors, and the encoder that makes a user vector from a history at request time.
#[derive(Debug, Clone)]
pub struct Factorization {
    /// Users × rank; the row of a user without interactions is zero.
    pub user_factors: Matrix,
    /// Items × rank; the inner product with a user vector is the score.
    pub item_factors: Matrix,
    /// Makes user vectors that go with `item_factors`.
    pub encoder: QueryEncoder,
}

/// Early stopping on a validation metric where more is better. Call [`EarlyStopping::observe`] once an iteration
/// and return its answer from the progress callback; afterwards [`EarlyStopping::best`] tells how many iterations
/// to refit with on all data.
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    patience: usize,
    min_gain: f64,
    best: Option<(usize, f64)>,
    since_best: usize,
}

impl EarlyStopping {
    /// Stops after `patience` iterations in a row that gain less than `min_gain` over the best.
    pub fn new(patience: usize, min_gain: f64) -> Self {
        Self { patience: patience.max(1), min_gain, best: None, since_best: 0 }
    }

    /// Takes the metric of one iteration; NaN counts as no gain.
    pub fn observe(&mut self, iteration: usize, metric: f64) -> ControlFlow<()> {
        let improved = match self.best {
            Some((_, best)) => metric >= best + self.min_gain && metric > best,
            None => !metric.is_nan(),
        };
        if improved {
            self.best = Some((iteration, metric));
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        if self.since_best >= self.patience { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The best iteration and its metric so far.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.best
    }
}

/// The threads a fit runs on: a pool of its own, or the caller's (0).
pub(crate) struct Workers(Option<rayon::ThreadPool>);

impl Workers {
    pub(crate) fn new(threads: usize) -> Result<Self, ModelError> {
        if threads == 0 {
            return Ok(Self(None));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("models-{i}"))
            .build()
            .map(|pool| Self(Some(pool)))
            .map_err(|error| ModelError::Threads { threads, reason: error.to_string() })
    }

    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_stops_after_patience_without_gain_and_remembers_the_best() {
        let mut stopping = EarlyStopping::new(2, 0.01);
        let answers: Vec<bool> = [0.10, 0.15, 0.155, 0.20, 0.19, f64::NAN]
            .iter()
            .enumerate()
            .map(|(i, metric)| stopping.observe(i + 1, *metric).is_break())
            .collect();
        assert_eq!(answers, [false, false, false, false, false, true]);
        assert_eq!(stopping.best(), Some((4, 0.20)));
    }
}
