//! The log again, from its beginning, through the state that serves: for each answer that is asked about, what it had read is read once
//! more when each entity is at the version that the answer saw.
//!
//! An answer stands in the log behind everything that it had read. So records are looked at some way ahead of those that are applied:
//! by the time an answer is applied, every entity has passed the version that it saw, and was read just then. Memory is that of the state,
//! of the records ahead, and of what is read for the answers among them; it does not grow with the log.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use tastemaker_config::Entity;
use tastemaker_log::LogReader;
use tastemaker_store::Catalog;
use tastemaker_types::{Position, Record, Served, ServedFeatures, Window};

use super::pending::{Part, Pending};
use super::{OfflineError, Progress};
use crate::set::SharedFeatures;
use crate::{FeatureColumn, OnlineState, ReadPlan, SeenBy, StateOptions};

/// How many records are looked at ahead. Answers are logged within seconds of the records that they have read.
const AHEAD: usize = 200_000;
/// How many cells are held for the answers among them. The way ahead is shorter while there are more.
const HELD_CELLS: usize = 4_000_000;

/// Why an answer cannot be computed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Missed {
    /// It was logged so long after it had read features that these cannot be found any more.
    TooLate,
    /// It did not read features of one kind of entity that are wanted, or could not.
    NotRead(Entity),
}

impl Missed {
    /// The rest of a sentence about the answer.
    pub fn reason(self) -> String {
        match self {
            Self::TooLate => format!("logged more than {AHEAD} records after it was made"),
            Self::NotRead(entity) => format!("made without reading features of the kind '{}'", entity.name()),
        }
    }
}

/// An answer and its features, computed again.
pub struct Replayed {
    /// The answer.
    pub served: Served,
    /// The columns that were wanted, with a cell for each item.
    pub columns: Result<Vec<FeatureColumn>, Missed>,
}

/// Replays the log. `wanted` says what is to be computed of an answer, if anything; `answered` gets it, in the order of the log. Gives the place
/// where it ended: one past the last record.
///
/// # Errors
/// Those of `answered`; a log that cannot be read; [`OfflineError::Interrupted`] if `progress` breaks it off.
pub fn replay<E: From<OfflineError>>(
    set: &SharedFeatures,
    log: &LogReader,
    mut wanted: impl FnMut(Position, &Served, &ServedFeatures) -> Option<Arc<ReadPlan>>,
    mut answered: impl FnMut(Replayed) -> Result<(), E>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Position, E> {
    let end = log.end().map_err(OfflineError::from)?;
    let mut records = log.read_from(Position(0)).take_while(|record| !matches!(record, Ok((at, _)) if *at >= end));
    let mut replay = Replaying::new(set);
    let mut ahead: Vec<(Position, Record)> = Vec::new();
    let mut applied = 0;
    loop {
        ahead.drain(..applied);
        let mut ended = false;
        while ahead.len() < AHEAD && (replay.held < HELD_CELLS || ahead.is_empty()) {
            let Some(record) = records.next().transpose().map_err(OfflineError::from)? else {
                ended = true;
                break;
            };
            if let Record::Served(served) = &record.1
                && let Some(features) = &served.features
                && let Some(plan) = wanted(record.0, served, features)
            {
                replay.expect(record.0, served, features, plan);
            }
            ahead.push(record);
        }
        if ahead.is_empty() {
            return Ok(end);
        }
        // Half of them, so that there is a way ahead of whatever is applied.
        let target = if ended { ahead.len() } else { ahead.len().div_ceil(2) };
        applied = 0;
        while applied < target {
            let rest = ahead.get(applied..target).unwrap_or_default();
            let length = replay.until_next_read(rest);
            let part = rest.get(..length).unwrap_or_default();
            replay.apply(part);
            for (position, record) in part {
                if let Record::Served(served) = record
                    && let Some(pending) = replay.pending.remove(position)
                {
                    replay.held -= pending.cells;
                    let columns = pending.finish(served)?;
                    answered(Replayed { served: served.clone(), columns })?;
                }
            }
            applied += length;
        }
        if progress(Progress::Log { done: replay.applied, total: end.0 }).is_break() {
            return Err(OfflineError::Interrupted.into());
        }
    }
}

struct Replaying {
    state: OnlineState,
    catalog: Arc<Catalog>,
    /// One past the last record that was applied.
    applied: u64,
    /// What is to be read once a record is applied.
    due: BTreeMap<u64, Vec<(Position, Part)>>,
    /// Answers ahead, by their places.
    pending: HashMap<Position, Pending>,
    /// Cells for which there is room in them.
    held: usize,
}

impl Replaying {
    fn new(set: &SharedFeatures) -> Self {
        let catalog = Arc::new(Catalog::new(set.item_attributes().clone()));
        // Histories and popularity are no declared features.
        let options = StateOptions {
            events: HashMap::new(),
            history_length: 1,
            seen_length: 1,
            seen_by: SeenBy::Nothing,
            popular_window: Window::from_days(1),
        };
        Self {
            state: OnlineState::with_features(options, Arc::clone(&catalog), Arc::clone(set)),
            catalog,
            applied: 0,
            due: BTreeMap::new(),
            pending: HashMap::new(),
            held: 0,
        }
    }

    /// Notes an answer that is ahead: what it has read is read now, or when it is due.
    fn expect(&mut self, position: Position, served: &Served, features: &ServedFeatures, plan: Arc<ReadPlan>) {
        let mut pending = Pending::new(served, features, plan);
        for (part, version) in pending.parts(features) {
            match version {
                Some(version) if version.0 >= self.applied => {
                    self.due.entry(version.0).or_default().push((position, part));
                }
                version => {
                    let found = self.read(&mut pending, part, version.is_some());
                    // Whoever has moved on since is not what was seen any more.
                    if version.is_some() && found > version {
                        pending.missed = Some(Missed::TooLate);
                    }
                }
            }
        }
        self.held += pending.cells;
        self.pending.insert(position, pending);
    }

    /// How many of the records can be applied before something has to be read.
    fn until_next_read(&self, records: &[(Position, Record)]) -> usize {
        let next = self.due.first_key_value().map_or(u64::MAX, |(position, _)| *position);
        records.iter().position(|(position, _)| position.0 >= next).map_or(records.len(), |place| place + 1)
    }

    fn apply(&mut self, records: &[(Position, Record)]) {
        self.state.apply(records);
        if let Some((last, _)) = records.last() {
            self.applied = last.0 + 1;
        }
        while let Some(entry) = self.due.first_entry()
            && *entry.key() < self.applied
        {
            for (answer, part) in entry.remove() {
                if let Some(mut pending) = self.pending.remove(&answer) {
                    self.read(&mut pending, part, true);
                    self.pending.insert(answer, pending);
                }
            }
        }
    }

    /// Reads a part as it is now, or as if nothing was known; gives the version that was found.
    fn read(&self, pending: &mut Pending, part: Part, known: bool) -> Option<Position> {
        let Pending { plan, user_id, items, now, .. } = &*pending;
        let row = |item: usize| {
            let id = items.get(item).filter(|_| known)?;
            self.catalog.snapshot().row(id)
        };
        // No id is empty, so nothing is known of it.
        let user = if known { user_id.as_str() } else { "" };
        match part {
            Part::User => {
                let fetched = self.state.fetch_users(plan, [user].into_iter(), *now, None);
                let version = fetched.versions.first().copied().flatten();
                pending.user = Some(fetched);
                version
            }
            Part::Item(item) => {
                let fetched = self.state.item_features(plan, &[row(item)], *now, None);
                let version = fetched.versions.first().copied().flatten();
                if let Some(place) = pending.of_items.get_mut(item) {
                    *place = Some(fetched);
                }
                version
            }
            Part::Pair(item) => {
                let fetched = self.state.fetch_pairs(plan, [(user, row(item))].into_iter(), *now);
                let version = fetched.versions.first().copied().flatten();
                if let Some(place) = pending.pairs.get_mut(item) {
                    *place = Some(fetched);
                }
                version
            }
            Part::Catalog => {
                let rows: Vec<Option<u32>> = (0..items.len()).map(row).collect();
                let (attributes, version) = self.state.item_attributes(plan, &rows);
                pending.attributes = Some(attributes);
                version
            }
        }
    }
}
