//! The circuit breaker: after so many commands in a row without an answer, the next ones fail at once, and a ping in the background finds
//! out when Redis answers again. Requests never pay for finding that out.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Whether commands are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They fail at once.
    Open,
    /// They fail at once, and a ping is under way.
    HalfOpen,
}

impl BreakerState {
    const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    fn code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    failures: AtomicU32,
    state: AtomicU8,
}

impl Breaker {
    pub(crate) fn new(threshold: u32) -> Self {
        Self { threshold, failures: AtomicU32::new(0), state: AtomicU8::new(BreakerState::Closed.code()) }
    }

    pub(crate) fn state(&self) -> BreakerState {
        BreakerState::ALL[usize::from(self.state.load(Ordering::Acquire)) % BreakerState::ALL.len()]
    }

    pub(crate) fn success(&self) {
        // Read first: a store by each command would have all cores fight over the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether this failure opened it.
    pub(crate) fn failure(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        failures >= self.threshold && self.change(BreakerState::Closed, BreakerState::Open)
    }

    /// Whether the state was `from` and is now `to`.
    pub(crate) fn change(&self, from: BreakerState, to: BreakerState) -> bool {
        if to == BreakerState::Closed {
            self.failures.store(0, Ordering::Release);
        }
        self.state.compare_exchange(from.code(), to.code(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_last_of_a_row_of_failures_and_only_once() {
        let breaker = Breaker::new(3);
        assert!(!breaker.failure() && !breaker.failure());
        breaker.success();
        assert!(!breaker.failure() && !breaker.failure());
        assert!(breaker.failure());
        assert!(!breaker.failure(), "it is open already");
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.change(BreakerState::Open, BreakerState::HalfOpen));
        assert!(breaker.change(BreakerState::HalfOpen, BreakerState::Closed));
        assert!(!breaker.failure(), "the count starts anew");
    }
}
