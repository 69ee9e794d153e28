//! How much memory state takes, counted at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tastemaker_features::{EventMeaning, OnlineState, SeenBy, StateOptions};
use tastemaker_store::Catalog;
use tastemaker_types::{AttributeSchema, Event, Position, Record, Timestamp, Window};

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USERS: u64 = 2_000;
const EVENTS: u64 = 50;

#[test]
fn an_event_takes_about_thirty_bytes() {
    let meaning = EventMeaning { positive: true, weight: 1.0, min_value: None };
    let options = StateOptions {
        events: HashMap::from([("click".to_owned(), meaning)]),
        history_length: 200,
        seen_length: 5_000,
        seen_by: SeenBy::Positive,
        popular_window: Window::from_days(30),
    };
    let catalog = Arc::new(Catalog::new(AttributeSchema::default()));
    let state = OnlineState::new(options, Arc::clone(&catalog));
    // The items exist before, so that the catalog is not counted.
    for item in 0..1_000 {
        catalog.intern(&format!("item-{item}"), Timestamp::EPOCH);
    }
    let before = LIVE.load(Ordering::Relaxed);
    for n in 0..USERS * EVENTS {
        let record = Record::Event(Event {
            event_id: String::new(),
            event_type: "click".to_owned(),
            user_id: format!("user-{}", n % USERS),
            item_id: format!("item-{}", (n * 7 + n / USERS) % 1_000),
            timestamp: Timestamp::EPOCH.plus(Window::from_millis(n as i64)),
            value: None,
            session_id: None,
            received: None,
            request_id: None,
            properties: BTreeMap::new(),
        });
        state.apply(&[(Position(n), record)]);
    }
    let bytes = (LIVE.load(Ordering::Relaxed) - before) as f64 / (USERS * EVENTS) as f64;
    println!("{bytes:.1} bytes per event of a user with {EVENTS}, everything counted");
    assert!(bytes < 36.0, "{bytes:.1} bytes an event");
}
