//! Partial results that are a few numbers. Sums saturate at the largest finite number instead of becoming infinite.

use serde::{Deserialize, Serialize};

use super::tiles::Partial;

/// How many events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Count(pub(super) u64);

/// A sum of values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Sum(pub(super) f64);

/// Two sums, to be divided: those of a mean or a rate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ratio {
    pub(super) numerator: f64,
    pub(super) denominator: f64,
}

/// The least value, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Least(pub(super) f64);

/// The greatest value, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Greatest(pub(super) f64);

/// Count, mean and sum of squared distances from the mean, as Chan, Golub and LeVeque (1979) merge them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

/// The nearest finite number.
pub(super) fn finite(number: f64) -> f64 {
    number.clamp(f64::MIN, f64::MAX)
}

impl Partial for Count {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl Partial for Sum {
    fn merge(&mut self, other: &Self) {
        self.0 = finite(self.0 + other.0);
    }
}

impl Partial for Ratio {
    fn merge(&mut self, other: &Self) {
        self.numerator = finite(self.numerator + other.numerator);
        self.denominator = finite(self.denominator + other.denominator);
    }
}

impl Ratio {
    /// The ratio after so many more denominator events of this mean; none if there is nothing to divide by.
    pub(super) fn smoothed(&self, prior: f64, prior_mean: f64) -> Option<f64> {
        let denominator = self.denominator + prior;
        (denominator > 0.0).then(|| finite((self.numerator + prior * prior_mean) / denominator))
    }
}

impl Default for Least {
    fn default() -> Self {
        Self(f64::INFINITY)
    }
}

impl Partial for Least {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.min(other.0);
    }
}

impl Default for Greatest {
    fn default() -> Self {
        Self(f64::NEG_INFINITY)
    }
}

impl Partial for Greatest {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }
}

impl Partial for Moments {
    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let count = self.count.saturating_add(other.count);
        let share = other.count as f64 / count as f64;
        let distance = finite(other.mean - self.mean);
        let between = finite(distance * distance) * (self.count as f64 * share);
        self.mean = finite(self.mean + distance * share);
        self.squares = finite(self.squares + other.squares + between);
        self.count = count;
    }
}

impl Moments {
    pub(super) fn of(value: f64) -> Self {
        Self { count: 1, mean: value, squares: 0.0 }
    }

    /// The population variance; none of no values.
    pub(super) fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }
}
