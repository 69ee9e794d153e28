//! Interactions with the shape of real ones: a few items and users take most of them, and tastes come in groups.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use tastemaker_types::{Attributes, Event, Timestamp};

/// Makes events without end; the same seed makes the same events.
#[derive(Debug, Clone)]
pub struct Interactions {
    random: SmallRng,
    user: Zipf<f64>,
    item: Zipf<f64>,
    items: u64,
    groups: u64,
    next: u64,
    start: Timestamp,
}

impl Interactions {
    /// The exponent of both popularity curves; item popularity in shops and film archives is near 1.
    const EXPONENT: f64 = 1.0;
    /// How often a user picks from their own group of items.
    const LOYALTY: f64 = 0.8;

    /// Between `users` and `items` entities, whose tastes fall into `groups`, one second apart from 2026-01-01 on.
    ///
    /// # Panics
    /// If a number is 0 or there are fewer items than groups.
    pub fn new(users: u64, items: u64, groups: u64, seed: u64) -> Self {
        assert!(users > 0 && groups > 0 && items >= groups, "give users, and at least as many items as groups");
        let zipf = |n: u64| Zipf::new(n as f64, Self::EXPONENT).expect("valid parameters");
        Self {
            random: SmallRng::seed_from_u64(seed),
            user: zipf(users),
            item: zipf(items / groups),
            items,
            groups,
            next: 0,
            start: Timestamp::from_micros(1_767_225_600_000_000),
        }
    }

    /// The group of an item or user by its number.
    pub fn group(&self, number: u64) -> u64 {
        number % self.groups
    }
}

impl Iterator for Interactions {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let user = self.user.sample(&mut self.random) as u64 - 1;
        let group = if self.random.random_bool(Self::LOYALTY) {
            self.group(user)
        } else {
            self.random.random_range(0..self.groups)
        };
        let item = ((self.item.sample(&mut self.random) as u64 - 1) * self.groups + group) % self.items;
        let number = self.next;
        self.next += 1;
        Some(Event {
            event_id: format!("e{number}"),
            event_type: "click".to_owned(),
            user_id: format!("u{user}"),
            item_id: format!("i{item}"),
            timestamp: Timestamp::from_micros(self.start.as_micros() + number as i64 * 1_000_000),
            value: None,
            session_id: None,
            received: None,
            request_id: None,
            properties: Attributes::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_few_items_take_most_and_a_seed_repeats_itself() {
        let make = || Interactions::new(1_000, 1_000, 5, 7).take(20_000);
        let mut counts: HashMap<String, usize> = HashMap::new();
        make().for_each(|event| *counts.entry(event.item_id).or_default() += 1);
        let mut sizes: Vec<usize> = counts.into_values().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        assert!(sizes[..100].iter().sum::<usize>() > 10_000);
        assert!(make().eq(make()));
    }
}
