//! The positive events of the log, with ids interned to dense numbers: what every model and metric starts from. An
//! event takes 20 bytes, so 100 million fit in two gigabytes.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use indexmap::IndexSet;
use tastemaker_config::EventTypes;
use tastemaker_log::LogError;
use tastemaker_models::{Interactions, ModelError};
use tastemaker_types::{Position, Record, Timestamp};

use crate::{Step, TrainingError};

/// Records between two reports of progress.
const REPORT_EVERY: u64 = 65_536;

/// Distinct ids in the order of their first positive event; the place is the row in a model.
pub type Ids = IndexSet<Box<str>>;

/// One positive event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Positive {
    /// Row of the user.
    pub user: u32,
    /// Row of the item.
    pub item: u32,
    /// When.
    pub time: Timestamp,
    /// The weight of its type.
    pub weight: f32,
}

/// Positive events in log order, one column for each part.
#[derive(Debug, Clone, Default, PartialEq)]
struct Columns {
    users: Vec<u32>,
    items: Vec<u32>,
    times: Vec<i64>,
    weights: Vec<f32>,
}

impl Columns {
    fn push(&mut self, event: Positive) {
        self.users.push(event.user);
        self.items.push(event.item);
        self.times.push(event.time.as_micros());
        self.weights.push(event.weight);
    }

    fn get(&self, at: usize) -> Positive {
        Positive {
            user: self.users[at],
            item: self.items[at],
            time: Timestamp::from_micros(self.times[at]),
            weight: self.weights[at],
        }
    }
}

/// The positive events of a log, without those of deleted items, and of users that were deleted after them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    users: Ids,
    items: Ids,
    events: Columns,
    log_position: Position,
}

impl Dataset {
    /// Reads records in log order. `report` is told how many of about `expected` have been read; its break cancels.
    ///
    /// # Errors
    /// The log is damaged, there are more than 2³² users or items, or `report` cancelled.
    pub fn read(
        records: impl Iterator<Item = Result<(Position, Record), LogError>>,
        expected: u64,
        types: &EventTypes,
        report: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Self, TrainingError> {
        let mut reading = Reading::default();
        for (read, record) in (1u64..).zip(records) {
            let (position, record) = record?;
            reading.take(record, types)?;
            reading.data.log_position = position.next();
            if read.is_multiple_of(REPORT_EVERY) && report(Step::Reading { records: read, of: expected }).is_break() {
                return Err(TrainingError::Cancelled);
            }
        }
        Ok(reading.finish())
    }

    /// Users with at least one event, by row.
    pub fn users(&self) -> &Ids {
        &self.users
    }

    /// Items with at least one event, by row.
    pub fn items(&self) -> &Ids {
        &self.items
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.events.times.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.times.is_empty()
    }

    /// One past the last record that was read, positive event or not.
    pub fn log_position(&self) -> Position {
        self.log_position
    }

    /// The latest event's time.
    pub fn latest_event(&self) -> Option<Timestamp> {
        self.events.times.iter().max().map(|micros| Timestamp::from_micros(*micros))
    }

    /// The events in log order.
    pub fn events(&self) -> impl Iterator<Item = Positive> + '_ {
        (0..self.len()).map(|at| self.events.get(at))
    }

    /// Times of the events, in log order and microseconds.
    pub(crate) fn times(&self) -> &[i64] {
        &self.events.times
    }

    /// The weights of the events that `keep` keeps, as users × items; rows stay those of the whole set.
    ///
    /// # Errors
    /// The summed weight of a pair is beyond `f32`.
    pub fn interactions(&self, keep: impl Fn(&Positive) -> bool) -> Result<Interactions, ModelError> {
        let kept = self.events().filter(keep).map(|event| (event.user, event.item, event.weight));
        Interactions::from_triplets(self.users.len(), self.items.len(), kept)
    }
}

/// Reading in progress: rows are given out as ids come. A deleted user is forgotten: what came before does not count. A
/// deleted item is out of the catalog, and back with its history when it is upserted again, as in serving.
#[derive(Default)]
struct Reading {
    data: Dataset,
    /// Events of a deleted user count from this place in the columns on.
    users_count_from: HashMap<u32, usize>,
    items_gone: HashSet<u32>,
}

impl Reading {
    fn take(&mut self, record: Record, types: &EventTypes) -> Result<(), TrainingError> {
        let data = &mut self.data;
        match record {
            Record::Event(event) => {
                let Some(weight) = types.positive_weight(&event.event_type, event.value) else {
                    return Ok(());
                };
                let user = intern(&mut data.users, &event.user_id, "users")?;
                let item = intern(&mut data.items, &event.item_id, "items")?;
                data.events.push(Positive { user, item, time: event.timestamp, weight: weight as f32 });
            }
            Record::UserDelete { id, .. } => {
                if let Some(user) = data.users.get_index_of(id.as_str()) {
                    self.users_count_from.insert(user as u32, data.events.times.len());
                }
            }
            Record::ItemDelete { id, .. } => {
                if let Some(item) = data.items.get_index_of(id.as_str()) {
                    self.items_gone.insert(item as u32);
                }
            }
            Record::ItemUpsert(upsert) => {
                if let Some(item) = data.items.get_index_of(upsert.id.as_str()) {
                    self.items_gone.remove(&(item as u32));
                }
            }
            Record::UserUpsert(_) | Record::Served(_) | Record::FeatureRow(_) => {}
        }
        Ok(())
    }

    /// Leaves out what was deleted, and the ids that have no event left.
    fn finish(self) -> Dataset {
        if self.users_count_from.is_empty() && self.items_gone.is_empty() {
            return self.data;
        }
        let counts = |user: u32, at: usize| self.users_count_from.get(&user).is_none_or(|from| at >= *from);
        let mut kept = Dataset { log_position: self.data.log_position, ..Dataset::default() };
        let mut users = Renumbering::new(self.data.users);
        let mut items = Renumbering::new(self.data.items);
        for at in 0..self.data.events.times.len() {
            let event = self.data.events.get(at);
            if counts(event.user, at) && !self.items_gone.contains(&event.item) {
                let (user, item) = (users.take(event.user, &mut kept.users), items.take(event.item, &mut kept.items));
                kept.events.push(Positive { user, item, ..event });
            }
        }
        kept
    }
}

/// Moves ids from an old numbering to a new one, when they are first needed.
struct Renumbering {
    ids: Ids,
    rows: Vec<Option<u32>>,
}

impl Renumbering {
    fn new(ids: Ids) -> Self {
        Self { rows: vec![None; ids.len()], ids }
    }

    fn take(&mut self, old: u32, kept: &mut Ids) -> u32 {
        let old = old as usize;
        *self.rows[old].get_or_insert_with(|| kept.insert_full(self.ids[old].clone()).0 as u32)
    }
}

fn intern(ids: &mut Ids, id: &str, what: &'static str) -> Result<u32, TrainingError> {
    let row = match ids.get_index_of(id) {
        Some(row) => row,
        None => ids.insert_full(id.into()).0,
    };
    u32::try_from(row).map_err(|_| TrainingError::TooMany { what })
}

#[cfg(test)]
pub(crate) mod tests {
    use tastemaker_types::{EntityUpsert, Event, UpsertMode};

    use super::*;

    pub(crate) fn event(kind: &str, user: &str, item: &str, time: i64) -> Record {
        Record::Event(Event {
            event_id: format!("{kind}-{user}-{item}-{time}"),
            event_type: kind.into(),
            user_id: user.into(),
            item_id: item.into(),
            timestamp: Timestamp::from_micros(time),
            value: None,
            session_id: None,
            received: None,
            request_id: None,
            properties: Default::default(),
        })
    }

    pub(crate) fn read(records: Vec<Record>) -> Dataset {
        let records = records.into_iter().enumerate().map(|(at, record)| Ok((Position(at as u64), record)));
        Dataset::read(records, 1, &EventTypes::default(), &mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn plain(data: &Dataset) -> Vec<(String, String, i64, f32)> {
        let id = |ids: &Ids, row: u32| ids[row as usize].to_string();
        data.events()
            .map(|e| (id(&data.users, e.user), id(&data.items, e.item), e.time.as_micros(), e.weight))
            .collect()
    }

    #[test]
    fn positive_events_count_with_the_weight_of_their_type_and_others_do_not() {
        let data = read(vec![
            event("impression", "u", "never liked", 1),
            event("click", "u", "a", 2),
            event("purchase", "v", "a", 3),
        ]);
        assert_eq!(plain(&data), [("u".into(), "a".into(), 2, 1.0), ("v".into(), "a".into(), 3, 5.0)]);
        assert_eq!((data.users().len(), data.items().len()), (2, 1));
        assert_eq!(data.log_position(), Position(3));
        assert_eq!(data.latest_event(), Some(Timestamp::from_micros(3)));
    }

    #[test]
    fn deleted_users_are_forgotten_and_deleted_items_come_back_with_their_history() {
        let at = Timestamp::EPOCH;
        let data = read(vec![
            event("click", "u", "a", 1),
            event("click", "u", "b", 2),
            event("click", "gone", "b", 3),
            event("click", "gone", "only liked by the forgotten", 4),
            event("click", "v", "back", 5),
            event("click", "v", "sold out", 5),
            Record::UserDelete { id: "gone".into(), timestamp: at },
            Record::UserDelete { id: "u".into(), timestamp: at },
            Record::UserDelete { id: "stranger".into(), timestamp: at },
            Record::ItemDelete { id: "sold out".into(), timestamp: at },
            Record::ItemDelete { id: "back".into(), timestamp: at },
            Record::ItemUpsert(EntityUpsert {
                id: "back".into(),
                attributes: Default::default(),
                mode: UpsertMode::Replace,
                timestamp: at,
            }),
            event("click", "u", "c", 6),
            event("click", "v", "b", 7),
            event("click", "v", "sold out", 8),
        ]);
        assert_eq!(
            plain(&data),
            [("v".into(), "back".into(), 5, 1.0), ("u".into(), "c".into(), 6, 1.0), ("v".into(), "b".into(), 7, 1.0),]
        );
        assert_eq!((data.users().len(), data.items().len()), (2, 3));
    }

    #[test]
    fn a_break_cancels_and_a_damaged_log_is_an_error() {
        let records = || (0..200_000u64).map(|at| Ok((Position(at), event("click", "u", "a", at as i64))));
        let result = Dataset::read(records(), 1, &EventTypes::default(), &mut |_| ControlFlow::Break(()));
        assert!(matches!(result, Err(TrainingError::Cancelled)));
        let damaged = records().take(3).chain([Err(LogError::Closed)]);
        let result = Dataset::read(damaged, 1, &EventTypes::default(), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(result, Err(TrainingError::Log(_))));
    }

    #[test]
    fn interactions_add_repeated_pairs_up() {
        let data = read(vec![event("click", "u", "a", 1), event("purchase", "u", "a", 2), event("click", "v", "b", 3)]);
        let all = data.interactions(|_| true).unwrap();
        assert_eq!(all.by_user().row(0), (&[0][..], &[6.0][..]));
        let early = data.interactions(|event| event.time.as_micros() < 2).unwrap();
        assert_eq!((early.users(), early.items(), early.len()), (2, 2, 1));
    }
}
