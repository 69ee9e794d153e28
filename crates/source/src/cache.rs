//! Answers remembered for a while: bounded in number, each for its own time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;
use rand::Rng as _;
use tastemaker_types::Window;

use crate::origin::{Known, State};

/// By id.
pub(crate) type Answers = Cache<Arc<str>, Known>;

/// Times differ by so much of themselves, so that what was read together is not read again together.
const JITTER: f64 = 0.1;

struct Lifetimes {
    ttl: Duration,
    negative_ttl: Duration,
}

impl Lifetimes {
    fn of(&self, known: &Known) -> Duration {
        let time = if matches!(known.state, State::Present(_)) { self.ttl } else { self.negative_ttl };
        time.mul_f64(rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER))
    }
}

impl Expiry<Arc<str>, Known> for Lifetimes {
    fn expire_after_create(&self, _: &Arc<str>, known: &Known, _: Instant) -> Option<Duration> {
        Some(self.of(known))
    }

    fn expire_after_update(&self, _: &Arc<str>, known: &Known, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(self.of(known))
    }
}

pub(crate) fn answers(capacity: u64, ttl: Window, negative_ttl: Window) -> Answers {
    let lifetimes = Lifetimes { ttl: ttl.to_duration(), negative_ttl: negative_ttl.to_duration() };
    Cache::builder().max_capacity(capacity).expire_after(lifetimes).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_a_tenth_and_by_what_was_found() {
        let lifetimes = Lifetimes { ttl: Duration::from_secs(100), negative_ttl: Duration::from_secs(10) };
        let found = Known { updated: None, state: State::Present(Arc::default()) };
        let times: Vec<f64> = (0..1_000).map(|_| lifetimes.of(&found).as_secs_f64()).collect();
        assert!(times.iter().all(|time| (90.0..=110.0).contains(time)));
        assert!(times.iter().any(|time| *time < 93.0) && times.iter().any(|time| *time > 107.0));
        assert!((9.0..=11.0).contains(&lifetimes.of(&Known::ABSENT).as_secs_f64()));
    }
}
