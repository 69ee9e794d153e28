//! How fast the online state takes a log in, and how much memory it takes: synthetic events of users with items through twenty features.
//! A few of both have most of the events. Memory grows until every entity has all tiles that it may have, and no further, however many
//! events there are.
//!
//! ```console
//! cargo run --release -p tastemaker-features --example replay -- [EVENTS] [USERS] [ITEMS] [DAYS]
//! ```
//! A hundred million events of 20,000 users with 20,000 items in 180 days unless told otherwise, which are six times the longest window.
//! The events are made as they are taken in. Memory is read from `/proc`, so it is shown on Linux alone.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tastemaker_config::Config;
use tastemaker_features::set::FeatureSet;
use tastemaker_features::{OnlineState, SeenBy, StateOptions};
use tastemaker_store::Catalog;
use tastemaker_types::{Attributes, Event, Position, Record, Timestamp, Window};

/// Records in one call, as a group commit may have.
const CALL: u64 = 4_096;
/// Events between two lines.
const TOLD: u64 = 5_000_000;
const MICROS_PER_DAY: u64 = 86_400_000_000;

const FEATURES: [&str; 20] = [
    "user clicks_30m count click window=\"30m\"",
    "user clicks_1d count click window=\"1d\"",
    "user clicks_7d count click window=\"7d\"",
    "user views_7d count impression window=\"7d\"",
    "user spent_30d sum purchase window=\"30d\"",
    "user mean_30d mean purchase window=\"30d\"",
    "user most max purchase",
    "user ctr rate click per=[\"impression\"] prior=10 prior_mean=0.1",
    "user idle time_since_last click",
    "user latest last_k click k=5",
    "user session session_duration click gap=\"30m\"",
    "user session_events session_event_count click gap=\"30m\"",
    "user taste decayed purchase half_life=\"7d\"",
    "user favourites top_k click k=5 window=\"30d\"",
    "user variety distinct click window=\"1d\"",
    "item clicks_1d count click window=\"1d\"",
    "item ctr_7d rate click per=[\"impression\"] window=\"7d\" prior=100 prior_mean=0.1",
    "item revenue sum purchase window=\"7d\"",
    "item trend decayed purchase half_life=\"1d\"",
    "item buyers distinct purchase window=\"7d\"",
];

/// The project file: each line is entity, name, aggregate, event, and further settings.
fn project() -> String {
    let mut text = "[events]\nclick = { positive = true }\npurchase = { positive = true }\n".to_owned();
    for feature in FEATURES {
        let mut words = feature.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (entity, name, aggregate, event) = (word(), word(), word(), word());
        text += &format!("[[features]]\nentity = \"{entity}\"\nname = \"{name}\"\naggregate = \"{aggregate}\"\n");
        text += &format!("events = [\"{event}\"]\n");
        for setting in words {
            text += &format!("{setting}\n");
        }
    }
    text
}

/// Marsaglia's xorshift: the same events in every run.
struct Random(u64);

impl Random {
    /// Below one.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.share() * limit as f64) as u64
    }

    /// As [`Random::below`], but the first hundredth comes up in a fifth of the cases, and the last one a third as often as on average.
    fn skewed_below(&mut self, limit: u64) -> u64 {
        (self.share().powi(3) * limit as f64) as u64
    }
}

struct World {
    random: Random,
    users: u64,
    items: u64,
    /// Between two events, in microseconds.
    pause: u64,
}

impl World {
    fn event(&mut self, number: u64) -> (Position, Record) {
        let random = &mut self.random;
        let event_type = match random.below(10) {
            0..=6 => "impression",
            7..=8 => "click",
            _ => "purchase",
        };
        let event = Event {
            event_id: String::new(),
            event_type: event_type.to_owned(),
            user_id: format!("user-{}", random.skewed_below(self.users)),
            item_id: format!("item-{}", random.skewed_below(self.items)),
            timestamp: Timestamp::EPOCH.plus(Window::from_micros((number * self.pause) as i64)),
            value: Some(random.below(10_000) as f64 / 100.0),
            session_id: None,
            received: None,
            request_id: None,
            properties: Attributes::new(),
        };
        (Position(number), Record::Event(event))
    }
}

/// Resident memory now and at most, in MiB.
fn memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse::<u64>().ok().map(|kib| kib >> 10)
    };
    Some((mib("VmRSS:")?, mib("VmHWM:")?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(Ok(default), |n| n.replace('_', "").parse());
    let (events, users, items) = (number(100_000_000)?, number(20_000)?, number(20_000)?);
    let days = number(180)?;
    let config = Config::parse(&project())?;
    let set = Arc::new(FeatureSet::compile(&config)?);
    let options = StateOptions {
        events: HashMap::new(),
        history_length: 1,
        seen_length: 1,
        seen_by: SeenBy::Nothing,
        popular_window: Window::from_days(1),
    };
    let state = OnlineState::with_features(options, Arc::new(Catalog::new(config.items.schema())), set);
    println!("{events} events of {users} users with {items} items in {days} days, {} features", FEATURES.len());

    let mut world = World { random: Random(7), users, items, pause: days * MICROS_PER_DAY / events.max(1) };
    let (mut applying, mut applied, mut told) = (Duration::ZERO, 0, (0, Duration::ZERO));
    while applied < events {
        let call: Vec<_> = (applied..(applied + CALL).min(events)).map(|number| world.event(number)).collect();
        let started = Instant::now();
        state.apply(&call);
        applying += started.elapsed();
        applied += call.len() as u64;
        if applied == events || applied / TOLD > told.0 / TOLD {
            let rate = (applied - told.0) as f64 / (applying - told.1).as_secs_f64();
            let memory = memory().map(|(now, peak)| format!(", {now} MiB in memory, {peak} MiB at most"));
            println!("{applied:>12} events, {rate:>9.0} events/s{}", memory.unwrap_or_default());
            told = (applied, applying);
        }
    }
    Ok(())
}
