//! The retry budget: a bucket of tokens. A retry takes one, ten successes bring one back, so that retries can never be more than a tenth of the
//! load on a Redis that is in trouble.

use std::sync::atomic::{AtomicU32, Ordering};

/// What a retry costs, and what a success earns a tenth of.
const RETRY: u32 = 10;

#[derive(Debug)]
pub(crate) struct RetryBudget {
    most: u32,
    tokens: AtomicU32,
}

impl RetryBudget {
    pub(crate) fn new(retries: u32) -> Self {
        let most = retries.saturating_mul(RETRY);
        Self { most, tokens: AtomicU32::new(most) }
    }

    pub(crate) fn earn(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.most {
            let _ =
                self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.most).then_some(n + 1));
        }
    }

    /// Whether a retry may be made.
    pub(crate) fn take(&self) -> bool {
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(RETRY)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_burst_and_then_a_tenth_of_the_successes() {
        let budget = RetryBudget::new(2);
        assert_eq!([budget.take(), budget.take(), budget.take()], [true, true, false]);
        (0..10).for_each(|_| budget.earn());
        assert_eq!([budget.take(), budget.take()], [true, false]);
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!([budget.take(), budget.take(), budget.take()], [true, true, false]);
    }
}
