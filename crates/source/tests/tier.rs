//! The tier in front of another origin than a database: a shelf in memory that counts who comes, and can be slow or shut.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tastemaker_source::{Known, Origin, ReadThrough, SourceError, State, TierOptions};
use tastemaker_types::{Timestamp, Window};

#[derive(Default)]
struct Shelf {
    items: Mutex<BTreeMap<String, i64>>,
    calls: Mutex<Vec<usize>>,
    slow: Mutex<Duration>,
    shut: AtomicBool,
    broken: AtomicBool,
}

#[async_trait]
impl Origin for Shelf {
    async fn fetch(&self, ids: &[String]) -> Result<Vec<Known>, SourceError> {
        self.calls.lock().push(ids.len());
        assert!(!self.broken.load(Ordering::Relaxed), "the shelf is broken, as a test wants it");
        let items = self.items.lock().clone();
        let slow = *self.slow.lock();
        tokio::time::sleep(slow).await;
        if self.shut.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable("shut".to_owned()));
        }
        let known = |id: &String| match items.get(id) {
            Some(at) => Known { updated: Some(Timestamp::from_micros(*at)), state: State::Present(Arc::default()) },
            None => Known::ABSENT,
        };
        Ok(ids.iter().map(known).collect())
    }
}

fn tier(shelf: &Arc<Shelf>) -> Arc<ReadThrough<Arc<Shelf>>> {
    let options = TierOptions {
        ttl: Window::from_millis(60_000),
        negative_ttl: Window::from_millis(60_000),
        batch: 10,
        timeout: Window::from_millis(500),
        capacity: 1_000,
    };
    Arc::new(ReadThrough::new(Arc::clone(shelf), options))
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn no_query_has_more_ids_than_a_batch_and_none_is_asked_for_twice() {
    let shelf = Arc::new(Shelf::default());
    let tier = tier(&shelf);
    let twice: Vec<String> = ids(0..95).into_iter().chain(ids(0..95)).collect();
    assert_eq!(tier.get(&twice).await.unwrap().len(), 190);
    assert!(shelf.calls.lock().iter().all(|count| *count <= 10));
    assert_eq!(shelf.calls.lock().iter().sum::<usize>(), 95);
}

#[tokio::test]
async fn who_gives_up_waiting_does_not_end_the_query_for_others() {
    let shelf = Arc::new(Shelf::default());
    *shelf.slow.lock() = Duration::from_millis(200);
    let tier = tier(&shelf);
    let impatient = tokio::time::timeout(Duration::from_millis(20), tier.get(&ids(0..1))).await;
    assert!(impatient.is_err());
    assert_eq!(tier.get(&ids(0..1)).await.unwrap(), [Known::ABSENT]);
    assert_eq!(*shelf.calls.lock(), [1]);
}

#[tokio::test]
async fn an_item_that_changes_while_it_is_read_is_read_again() {
    let shelf = Arc::new(Shelf::default());
    shelf.items.lock().insert("0".to_owned(), 1);
    *shelf.slow.lock() = Duration::from_millis(100);
    let tier = tier(&shelf);
    let reading = tokio::spawn({
        let tier = Arc::clone(&tier);
        async move { tier.get(&ids(0..1)).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    shelf.items.lock().insert("0".to_owned(), 2);
    tier.forget("0");
    assert_eq!(reading.await.unwrap()[0].updated, Some(Timestamp::from_micros(2)));
    assert_eq!(tier.get(&ids(0..1)).await.unwrap()[0].updated, Some(Timestamp::from_micros(2)));
    assert_eq!(*shelf.calls.lock(), [1, 1]);
}

#[tokio::test]
async fn after_a_failure_nobody_asks_for_a_moment_and_what_is_remembered_is_still_answered() {
    let shelf = Arc::new(Shelf::default());
    let tier = tier(&shelf);
    tier.get(&ids(0..1)).await.unwrap();
    shelf.shut.store(true, Ordering::Relaxed);
    assert_eq!(tier.get(&ids(1..2)).await.unwrap_err(), SourceError::Unavailable("shut".to_owned()));
    for _ in 0..50 {
        assert!(matches!(tier.get(&ids(1..2)).await.unwrap_err(), SourceError::Resting(_)));
    }
    assert_eq!(tier.get(&ids(0..1)).await.unwrap(), [Known::ABSENT]);
    assert_eq!((shelf.calls.lock().len(), tier.stats().errors), (2, 1));
    shelf.shut.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    tier.get(&ids(1..2)).await.unwrap();
}

#[tokio::test]
async fn a_query_that_ends_in_a_panic_leaves_nobody_waiting_for_ever() {
    let shelf = Arc::new(Shelf::default());
    let tier = tier(&shelf);
    shelf.broken.store(true, Ordering::Relaxed);
    assert!(matches!(tier.get(&ids(0..1)).await, Err(SourceError::Unavailable(_))));
    shelf.broken.store(false, Ordering::Relaxed);
    assert_eq!(tier.get(&ids(0..1)).await.unwrap(), [Known::ABSENT]);
}
