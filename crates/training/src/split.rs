//! Splitting by time, the way a recommender lives: the model learns from what lies before one instant, for all users
//! alike. Afterwards users go on; at the moment in question each has done the first half of what they did after that
//! instant, which their folded-in vector knows, and the second half is what the recommendations are measured on. Nothing
//! from later leaks in, and users who are new to the model count as well.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tastemaker_config::ExcludeSeen;
use tastemaker_types::Timestamp;

use crate::{Dataset, Positive, TrainingError};

/// A user with events from the cutoff on, at the moment halfway through them.
#[derive(Debug, Clone, PartialEq)]
pub struct TestUser {
    /// Row in the dataset.
    pub user: u32,
    /// Events up to that moment, oldest first: item row and weight; never empty.
    pub history: Vec<(u32, f32)>,
    /// What may not be recommended, in ascending order: the distinct items of the history, unless items are recommended
    /// again.
    pub excluded: Vec<u32>,
    /// Distinct items of later events that are not excluded, in ascending order; never empty.
    pub relevant: Vec<u32>,
}

/// Whether users are recommended what they already know, as serving is set to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Only items that are new to the user are recommended and asked for.
    Excluded,
    /// All items compete: what is bought again and again, such as groceries.
    Allowed,
}

impl From<ExcludeSeen> for Repeats {
    fn from(exclude: ExcludeSeen) -> Self {
        match exclude {
            ExcludeSeen::None => Self::Allowed,
            ExcludeSeen::Positive | ExcludeSeen::All => Self::Excluded,
        }
    }
}

impl TestUser {
    /// From the history, oldest first, and the items of later events.
    pub(crate) fn new(user: u32, history: Vec<(u32, f32)>, mut later: Vec<u32>, repeats: Repeats) -> Self {
        let mut excluded: Vec<u32> = match repeats {
            Repeats::Excluded => history.iter().map(|(item, _)| *item).collect(),
            Repeats::Allowed => Vec::new(),
        };
        excluded.sort_unstable();
        excluded.dedup();
        later.retain(|item| excluded.binary_search(item).is_err());
        later.sort_unstable();
        later.dedup();
        Self { user, history, excluded, relevant: later }
    }
}

/// The cutoff and who is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeSplit {
    /// Events before this are learned from.
    pub cutoff: Timestamp,
    /// The users to measure, by row.
    pub users: Vec<TestUser>,
}

impl TimeSplit {
    /// Holds out the latest `fraction` of the events (more if several share the cutoff's time). Of the users that have
    /// any of these, at most `max_users` are measured, drawn by `seed`.
    ///
    /// # Errors
    /// Nothing would be left to learn from, or nobody to measure.
    pub fn new(
        data: &Dataset,
        fraction: f64,
        repeats: Repeats,
        max_users: usize,
        seed: u64,
    ) -> Result<Self, TrainingError> {
        let cutoff = cutoff(data.times(), fraction).ok_or(TrainingError::NothingToHoldOut {
            events: data.len(),
            reason: "no event lies before the others in time",
        })?;
        let users = test_users(data, cutoff, repeats, max_users, seed);
        if users.is_empty() {
            let reason = "no user goes on to items that are new to them";
            return Err(TrainingError::NothingToHoldOut { events: data.len(), reason });
        }
        Ok(Self { cutoff, users })
    }
}

/// The time of the first held-out event, if any event lies before it.
fn cutoff(times: &[i64], fraction: f64) -> Option<Timestamp> {
    let earliest = *times.iter().min()?;
    let learned = (times.len() as f64 * (1.0 - fraction)) as usize;
    let mut times = times.to_vec();
    let place = learned.min(times.len() - 1);
    let cutoff = *times.select_nth_unstable(place).1;
    (cutoff > earliest).then(|| Timestamp::from_micros(cutoff))
}

fn test_users(data: &Dataset, cutoff: Timestamp, repeats: Repeats, max_users: usize, seed: u64) -> Vec<TestUser> {
    let mut goes_on = vec![false; data.users().len()];
    for event in data.events().filter(|event| event.time >= cutoff) {
        goes_on[event.user as usize] = true;
    }
    let mut drawn: Vec<u32> = (0..goes_on.len() as u32).filter(|user| goes_on[*user as usize]).collect();
    if drawn.len() > max_users {
        let (sample, _) = drawn.partial_shuffle(&mut StdRng::seed_from_u64(seed), max_users);
        drawn = sample.to_vec();
        drawn.sort_unstable();
    }
    let mut place = vec![None; goes_on.len()];
    for (at, user) in drawn.iter().enumerate() {
        place[*user as usize] = Some(at);
    }
    let mut events = vec![Vec::new(); drawn.len()];
    for event in data.events() {
        if let Some(at) = place[event.user as usize] {
            events[at].push(event);
        }
    }
    let test_user = |(user, mut events): (u32, Vec<Positive>)| {
        // Stable: what happened at the same time stays in the order of the log.
        events.sort_by_key(|event| event.time);
        let before = events.partition_point(|event| event.time < cutoff);
        let (history, later) = events.split_at(before + (events.len() - before) / 2);
        let history = history.iter().map(|event| (event.item, event.weight)).collect();
        TestUser::new(user, history, later.iter().map(|event| event.item).collect(), repeats)
    };
    drawn
        .into_iter()
        .zip(events)
        .map(test_user)
        .filter(|user| !user.history.is_empty() && !user.relevant.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::{event, read};

    #[test]
    fn everyone_is_cut_at_the_same_instant_and_asked_halfway_through_what_follows() {
        let data = read(vec![
            event("click", "u", "b", 2),
            event("click", "u", "a", 1), // came late, happened first
            event("click", "stops", "a", 3),
            event("click", "u", "a", 8),  // known already
            event("click", "u", "d", 9),  // the first half ends here
            event("click", "u", "b", 10), // known already: not asked for again
            event("click", "u", "c", 11),
            event("click", "new", "a", 9),
            event("click", "new", "c", 10),
            event("click", "once", "c", 10),
        ]);
        let split = TimeSplit::new(&data, 0.7, Repeats::Excluded, 100, 1).unwrap();
        assert_eq!(split.cutoff, Timestamp::from_micros(8));
        // `stops` does nothing later, and of `once` nothing is known.
        let row = |item: &str| data.items().get_index_of(item).unwrap() as u32;
        let user = |id: &str, history: &[&str], later: &[&str]| {
            let history = history.iter().map(|item| (row(item), 1.0)).collect();
            let user = data.users().get_index_of(id).unwrap() as u32;
            TestUser::new(user, history, later.iter().map(|item| row(item)).collect(), Repeats::Excluded)
        };
        assert_eq!(split.users, [user("u", &["a", "b", "a", "d"], &["c"]), user("new", &["a"], &["c"])]);
        assert_eq!(split.users[0].excluded.len(), 3);
        assert_eq!(split.users[0].relevant, [row("c")]);

        let again = TimeSplit::new(&data, 0.7, Repeats::Allowed, 100, 1).unwrap();
        assert!(again.users[0].excluded.is_empty());
        let mut relevant = [row("b"), row("c")];
        relevant.sort_unstable();
        assert_eq!(again.users[0].relevant, relevant, "what is bought again is asked for again");
    }

    #[test]
    fn a_split_that_leaves_nothing_says_why() {
        let same_time = read(vec![event("click", "u", "a", 1), event("click", "v", "b", 1)]);
        let error = TimeSplit::new(&same_time, 0.5, Repeats::Excluded, 10, 1).unwrap_err().to_string();
        assert!(error.contains("no event lies before") && error.contains("--no-holdout"), "{error}");
        let strangers = read(vec![event("click", "u", "a", 1), event("click", "v", "b", 2)]);
        let error = TimeSplit::new(&strangers, 0.5, Repeats::Excluded, 10, 1).unwrap_err().to_string();
        assert!(error.contains("new to them"), "{error}");
        assert!(TimeSplit::new(&read(vec![]), 0.5, Repeats::Excluded, 10, 1).is_err());
    }

    #[test]
    fn many_users_are_sampled_by_the_seed() {
        let mut records = Vec::new();
        for user in 0..50 {
            records.push(event("click", &format!("u{user}"), "a", user));
            records.push(event("click", &format!("u{user}"), "b", 1_000 + user));
        }
        let data = read(records);
        let users = |seed| {
            let split = TimeSplit::new(&data, 0.5, Repeats::Excluded, 7, seed).unwrap();
            split.users.iter().map(|user| user.user).collect::<Vec<_>>()
        };
        assert_eq!(users(1).len(), 7);
        assert_eq!(users(1), users(1));
        assert_ne!(users(1), users(2));
        assert!(users(1).is_sorted());
    }
}
