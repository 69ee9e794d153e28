//! How long to leave a database alone that does not answer.

use std::time::Duration;

use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double, each of them different for everybody, so that servers do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause after a failure: half of it to all of it.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_and_differ() {
        let mut backoff = Backoff::new();
        let pauses: Vec<f64> = (0..40).map(|_| backoff.pause().as_secs_f64()).collect();
        assert!((0.125..=0.25).contains(&pauses[0]) && (0.25..=0.5).contains(&pauses[1]), "{pauses:?}");
        assert!(pauses[5..].iter().all(|pause| (2.5..=5.0).contains(pause)), "{pauses:?}");
        assert!(pauses[5..].windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01), "{pauses:?}");
    }
}
