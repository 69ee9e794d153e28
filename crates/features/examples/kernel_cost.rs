//! What the aggregation kernel costs: updates a second, reads of 50 features, and bytes per entity.
//!
//! ```console
//! cargo run --release -p tastemaker-features --example kernel_cost
//! ```
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tastemaker_features::kernel::{Definition, EntityState, Input, InputValue, Kernel, Operation, Role};
use tastemaker_types::{Timestamp, Window};

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

const FEATURES: usize = 50;
const ENTITIES: usize = 500;
const EVENTS: usize = 200;
const ROUNDS: usize = 20;
/// Between two events of an entity, at most.
const PAUSE: u64 = 6 * 3_600 * 1_000_000;
const HOUR: i64 = 3_600 * 1_000_000;

/// Marsaglia's xorshift: the same events in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The fastest of many short rounds: other processes disturb some of them, nothing makes one faster than it is.
struct Fastest {
    operations: usize,
    best: Duration,
}

impl Fastest {
    fn new(operations: usize) -> Self {
        Self { operations, best: Duration::MAX }
    }

    fn round(&mut self, took: Duration) {
        self.best = self.best.min(took);
    }

    fn time(&mut self, work: impl FnOnce()) {
        let started = Instant::now();
        work();
        self.round(started.elapsed());
    }

    /// Microseconds of one operation.
    fn micros(&self) -> f64 {
        self.best.as_secs_f64() * 1e6 / self.operations as f64
    }
}

/// Fifty features of these operations, with windows from half an hour to a month.
fn kernel(operations: &[Operation], groups: Option<u32>) -> Result<Kernel, Box<dyn Error>> {
    let windows = [HOUR / 2, 24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR].map(Window::from_micros);
    let definitions = operations.iter().cycle().zip(windows.iter().cycle()).take(FEATURES).enumerate();
    let definitions = definitions.map(|(place, (operation, window))| {
        use Operation as O;
        let own_time = matches!(
            operation,
            O::SessionDuration { .. } | O::SessionEventCount { .. } | O::SessionItems { .. } | O::Decayed { .. }
        );
        let groups = groups.filter(|_| matches!(operation, O::Count | O::Sum) && place % 3 == 0);
        let window = (!own_time).then_some(*window);
        Definition { operation: operation.clone(), window, groups, inputs: String::new() }
    });
    Ok(Kernel::new(definitions.collect())?)
}

fn measure(name: &str, kernel: &Kernel, texts: bool) {
    let mut random = Random(7);
    let items: Vec<String> = (0..1_000).map(|n| format!("item-{n}")).collect();
    let categories = ["shoes", "books", "garden", "music", "games"];
    let before = LIVE.load(Ordering::Relaxed);
    let mut states: Vec<EntityState> = (0..ENTITIES).map(|_| EntityState::default()).collect();
    let mut clocks = [Timestamp::EPOCH; ENTITIES];
    let mut inputs = Vec::with_capacity(2 * FEATURES);
    let mut updates = Fastest::new(FEATURES * ENTITIES);
    for round in 0..EVENTS {
        let mut applying = Duration::ZERO;
        for (state, clock) in states.iter_mut().zip(&mut clocks) {
            *clock = clock.plus(Window::from_micros(random.below(PAUSE) as i64));
            let number = InputValue::Number(random.below(10_000) as f64 / 100.0);
            let text = InputValue::Text(items.get(random.below(1_000) as usize).map_or("", String::as_str));
            let group = categories.get(random.below(5) as usize).copied();
            let role = if random.below(10) == 0 { Role::Numerator } else { Role::Denominator };
            inputs.clear();
            for feature in 0..FEATURES as u16 {
                let value = if texts { text } else { number };
                inputs.push(Input { feature, value, group, role });
            }
            let started = Instant::now();
            black_box(kernel.apply(state, *clock, &inputs));
            applying += started.elapsed();
        }
        // Once the windows have filled.
        if round >= EVENTS / 2 {
            updates.round(applying);
        }
    }
    let memory = (LIVE.load(Ordering::Relaxed) - before) / ENTITIES;

    let mut values = Vec::new();
    let (mut cold, mut warm) = (Fastest::new(ENTITIES), Fastest::new(ENTITIES));
    let (mut encoding, mut decoding) = (Fastest::new(ENTITIES), Fastest::new(ENTITIES));
    let mut encoded = Vec::new();
    for round in 0..ROUNDS {
        cold.time(|| {
            for (state, clock) in states.iter().zip(&clocks) {
                kernel.read_all(state, *clock, &mut values);
                black_box(&values);
            }
        });
        if let (Some(state), Some(clock)) = (states.get(round), clocks.get(round)) {
            warm.time(|| {
                for _ in 0..ENTITIES {
                    kernel.read_all(black_box(state), *clock, &mut values);
                    black_box(&values);
                }
            });
        }
        encoding.time(|| encoded = states.iter().map(|state| kernel.encode(state)).collect::<Vec<_>>());
        decoding.time(|| assert!(encoded.iter().all(|bytes| black_box(kernel.decode(bytes)).is_ok())));
    }
    let bytes = encoded.iter().map(Vec::len).sum::<usize>() / ENTITIES;

    println!("{name}: {FEATURES} features, {ENTITIES} entities with {EVENTS} events each");
    println!("  {:.1} million updates a second", 1.0 / updates.micros());
    println!(
        "  {:.2} µs to read all features of an entity, {:.2} µs if it was read just before",
        cold.micros(),
        warm.micros()
    );
    println!("  {memory} bytes an entity in memory, {bytes} encoded");
    println!("  {:.1} µs to encode, {:.1} µs to decode", encoding.micros(), decoding.micros());
}

fn main() -> Result<(), Box<dyn Error>> {
    use Operation as O;
    let gap = Window::from_micros(HOUR / 2);
    let numeric = [O::Count, O::Sum, O::Mean, O::Min, O::Max];
    let mixed = [
        O::Count,
        O::Sum,
        O::Mean,
        O::Rate { prior: 10.0, prior_mean: 0.1 },
        O::Max,
        O::Variance,
        O::Last,
        O::TimeSinceLast,
        O::LastK { k: 5 },
        O::SessionDuration { gap },
        O::SessionItems { gap, k: 10 },
        O::Decayed { half_life: Window::from_days(1) },
    ];
    measure("counts, sums, means and extremes", &kernel(&numeric, None)?, false);
    measure("mixed, some grouped, with lists and sessions", &kernel(&mixed, Some(16))?, false);
    measure("distinct counts", &kernel(&[O::Distinct], None)?, true);
    measure("most frequent values", &kernel(&[O::TopK { k: 5 }], None)?, true);
    Ok(())
}
