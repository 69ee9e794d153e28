//! Writes of what an index holds, a few at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Redis answers nobody while it takes writes of one pipeline, this long at most where they are many.
const HOLD: Duration = Duration::from_millis(5);
const AT_FIRST: usize = 4;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How many hashes that an index holds are written at once, by how long the ones before took. The module takes a hash up anew, into its graph as
/// well, about a millisecond each, whatever changed of it; half of the time is left to those who search.
///
/// With the module's `PARTIAL_INDEXED_DOCS` a change of what no index reads costs microseconds, and so many are written at once.
#[derive(Debug)]
pub struct Pace {
    size: AtomicUsize,
    most: usize,
}

impl Pace {
    /// At most so many at once.
    pub fn new(most: usize) -> Self {
        Self { size: AtomicUsize::new(AT_FIRST.min(most.max(1))), most: most.max(1) }
    }

    /// How many to write next.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Learns how long they took, and rests as long.
    pub async fn rest(&self, took: Duration) {
        self.size.store(after(self.size(), took).clamp(1, self.most), Ordering::Relaxed);
        tokio::time::sleep(took.min(LONGEST_REST)).await;
    }
}

/// How many to write after so many took so long.
fn after(size: usize, took: Duration) -> usize {
    if took > HOLD * 2 {
        size / 2
    } else if took < HOLD / 2 {
        size * 2
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slow_writes_become_fewer_at_once_and_fast_ones_more() {
        for (size, took, next) in [(8, 12, 4), (8, 10, 8), (8, 3, 8), (8, 2, 16)] {
            assert_eq!(after(size, Duration::from_millis(took)), next, "{size} in {took} ms");
        }
        let pace = Pace::new(10);
        assert_eq!(pace.size(), AT_FIRST);
        for most in [8, 10, 10] {
            pace.rest(Duration::ZERO).await;
            assert_eq!(pace.size(), most);
        }
        for least in [5, 2, 1, 1] {
            pace.rest(Duration::from_millis(11)).await;
            assert_eq!(pace.size(), least);
        }
        assert_eq!(Pace::new(0).size(), 1);
    }
}
