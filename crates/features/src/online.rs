//! All state that serving reads, kept up to date by one writer that applies records in log order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tastemaker_config::Entity;
use tastemaker_store::Catalog;
use tastemaker_types::{Event, FeatureRow, Position, Record, Timestamp, Window};

use crate::Aggregate;
use crate::entity::ViewRow;
use crate::fetch::CatalogAt;
use crate::freshness::NewestRow;
use crate::intake::{Run, Step, take_in};
use crate::items::ItemTable;
use crate::kernel::Input;
use crate::popularity::{Like, Popularity, PopularityState};
use crate::ranking::Rankings;
use crate::recent::{Liked, Recent, Seen};
use crate::set::SharedFeatures;
use crate::users::{User, UserFeatures, UserTable};

/// What events of one type say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventMeaning {
    /// Whether the user likes the item.
    pub positive: bool,
    /// How much, if so.
    pub weight: f32,
    /// The value from which on it does.
    pub min_value: Option<f64>,
}

impl EventMeaning {
    fn positive_weight(&self, event: &Event) -> Option<f32> {
        let reached = self.min_value.is_none_or(|least| event.value.is_some_and(|value| value >= least));
        (self.positive && reached).then_some(self.weight)
    }
}

/// Which events make an item one that the user has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// None; nothing is remembered.
    Nothing,
    /// Positive ones.
    Positive,
    /// All, impressions included.
    Anything,
}

/// What is remembered, and how much of it.
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// Events by type; others say nothing, but that an item was met.
    pub events: HashMap<String, EventMeaning>,
    /// Liked items per user.
    pub history_length: usize,
    /// Met items per user.
    pub seen_length: usize,
    /// Which events count as meeting an item.
    pub seen_by: SeenBy,
    /// The window of popularity.
    pub popular_window: Window,
}

/// The share of one core that ranking all items may take while requests wait for it: one in this many.
const RANKING_SHARE: u32 = 100;
/// Positions are stored one higher; nothing has been applied at 0.
const NOTHING_APPLIED: u64 = 0;

/// Users, popularity and rankings, as of the last applied record.
pub struct OnlineState {
    options: StateOptions,
    catalog: Arc<Catalog>,
    users: UserTable,
    features: SharedFeatures,
    items: ItemTable,
    catalog_at: ArcSwap<CatalogAt>,
    /// Inputs of features that were not what the feature takes.
    refused_inputs: AtomicU64,
    /// By batch view.
    newest_rows: Vec<NewestRow>,
    /// When users were deleted last. Rows that were created before say nothing: whoever is forgotten is not brought back by a table.
    deleted: Mutex<HashMap<Box<str>, Timestamp>>,
    popularity: Popularity,
    popularity_state: Mutex<PopularityState>,
    rankings: ArcSwap<Ranked>,
    ranking: Mutex<()>,
    applied: AtomicU64,
}

/// Rankings with what tells whether they are out of date.
struct Ranked {
    rankings: Arc<Rankings>,
    /// What had been applied; `None` before the first ranking.
    applied: Option<u64>,
    made: Instant,
    took: Duration,
}

impl OnlineState {
    /// Empty state that goes with `catalog`, which it changes as records say, without declared features.
    pub fn new(options: StateOptions, catalog: Arc<Catalog>) -> Self {
        Self::with_features(options, catalog, Arc::default())
    }

    /// As [`OnlineState::new`], with these features.
    pub fn with_features(options: StateOptions, catalog: Arc<Catalog>, declared: SharedFeatures) -> Self {
        let features =
            UserFeatures { history: Recent::new(options.history_length), seen: Recent::new(options.seen_length) };
        let never = Ranked { rankings: Arc::default(), applied: None, made: Instant::now(), took: Duration::ZERO };
        let catalog_at = CatalogAt { snapshot: catalog.snapshot(), through: 0 };
        Self {
            users: UserTable::new(features),
            newest_rows: declared.views().iter().map(|_| NewestRow::default()).collect(),
            features: declared,
            deleted: Mutex::default(),
            items: ItemTable::new(),
            catalog_at: ArcSwap::from_pointee(catalog_at),
            refused_inputs: AtomicU64::new(0),
            popularity: Popularity::new(options.popular_window),
            popularity_state: Mutex::default(),
            rankings: ArcSwap::from_pointee(never),
            ranking: Mutex::new(()),
            applied: AtomicU64::new(NOTHING_APPLIED),
            options,
            catalog,
        }
    }

    /// Takes records in, in log order, from one thread at a time. Readers see the items of a run of records all at once, and its events one
    /// by one.
    pub fn apply(&self, records: &[(Position, Record)]) {
        let apply = |run: &Run<'_>| {
            self.apply_run(run);
            Ok::<(), Infallible>(())
        };
        let Ok(()) = take_in(&self.features, &self.catalog, records, |_| true, apply);
    }

    fn apply_run(&self, run: &Run<'_>) {
        let through = run.last_item_change().map_or_else(|| self.catalog_at.load().through, |last| last.0 + 1);
        if !self.features.is_empty() {
            self.catalog_at.store(Arc::new(CatalogAt { snapshot: Arc::clone(&run.catalog), through }));
        }
        for step in run.steps() {
            let position = step.position;
            match (step.record, step.row) {
                (Record::Event(event), Some(row)) => {
                    self.apply_event(event, row);
                    if run.has_inputs() {
                        self.apply_to_features(run, &step, event, row);
                    }
                }
                (Record::ItemUpsert(_) | Record::ItemDelete { .. }, Some(row)) if !self.features.is_empty() => {
                    self.items.change(row, |features| features.touch(position));
                }
                (Record::UserUpsert(upsert), _) => {
                    self.users.upsert(upsert, (!self.features.is_empty()).then_some(position));
                }
                (Record::UserDelete { id, timestamp }, _) => {
                    self.users.forget(id);
                    if !self.features.views().is_empty() {
                        self.deleted.lock().insert(id.as_str().into(), *timestamp);
                    }
                }
                (Record::FeatureRow(features), row) => self.put_row(position, features, row),
                _ => {}
            }
        }
        if let Some(last) = run.last() {
            self.applied.store(last.0 + 1, Ordering::Release);
        }
    }

    fn apply_to_features(&self, run: &Run<'_>, step: &Step<'_>, event: &Event, row: u32) {
        let of = |entity| {
            let mut inputs: Vec<Input<'_>> = Vec::new();
            run.inputs(entity, step, &mut inputs);
            (self.features.streams(entity).kernel(), inputs)
        };
        let (position, at, received, mut refused) = (step.position, event.timestamp, event.received, 0);
        let (kernel, of_user) = of(Entity::User);
        let (pair_kernel, of_pair) = of(Entity::Pair);
        self.users.change_features(&event.user_id, |user| {
            refused += user.own.apply(kernel, position, at, received, &of_user);
            if !of_pair.is_empty() {
                refused += user.pairs.entry(row).or_default().apply(pair_kernel, position, at, received, &of_pair);
            }
        });
        let (kernel, of_item) = of(Entity::Item);
        self.items.change(row, |item| refused += item.apply(kernel, position, at, received, &of_item));
        self.refused_inputs.fetch_add(refused as u64, Ordering::Relaxed);
    }

    fn put_row(&self, position: Position, row: &FeatureRow, item: Option<u32>) {
        // A row of a view that is declared no more, or of another entity now, says nothing.
        let Ok(number) = self.features.view(&row.view) else { return };
        let Some(view) = self.features.views().get(number) else { return };
        let Some(new) = ViewRow::new(number, view, row) else { return };
        let deleted = row.user_id.as_deref().and_then(|user| self.deleted.lock().get(user).copied());
        if deleted.is_some_and(|deleted| new.created <= deleted) {
            return;
        }
        if let Some(newest) = self.newest_rows.get(number) {
            newest.note(&new);
        }
        match (view.entity, &row.user_id, item) {
            (Entity::User, Some(user), _) => self.users.change_features(user, |user| user.own.put(position, new)),
            (Entity::Item, _, Some(item)) => self.items.change(item, |features| features.put(position, new)),
            (Entity::Pair, Some(user), Some(item)) => {
                self.users.change_features(user, |user| user.pairs.entry(item).or_default().put(position, new));
            }
            _ => {}
        }
    }

    /// The declared features.
    pub fn features(&self) -> &SharedFeatures {
        &self.features
    }

    /// How many values of events were not what a feature takes, such as texts that are too long. They are left out.
    pub fn refused_inputs(&self) -> u64 {
        self.refused_inputs.load(Ordering::Relaxed)
    }

    /// The newest event time up to `now` of all rows of a batch feature view, by its number; none before its first row.
    pub fn newest_row(&self, view: usize, now: Timestamp) -> Option<Timestamp> {
        self.newest_rows.get(view)?.at(now)
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn users(&self) -> &UserTable {
        &self.users
    }

    pub(crate) fn items(&self) -> &ItemTable {
        &self.items
    }

    /// The items, and the last change of any item that is in them; none where no features are declared, since nothing goes by it then.
    pub fn items_through(&self) -> (Arc<tastemaker_store::CatalogSnapshot>, Option<Position>) {
        if self.features.is_empty() {
            return (self.catalog.snapshot(), None);
        }
        let at = self.catalog_at.load();
        (Arc::clone(&at.snapshot), at.position())
    }

    /// Says of the items of this state's catalog, which were put there as another had them, which change of an item they include last.
    pub fn import_items_through(&self, position: Option<Position>) {
        let through = position.map_or(0, |position| position.0 + 1);
        self.catalog_at.store(Arc::new(CatalogAt { snapshot: self.catalog.snapshot(), through }));
    }

    pub(crate) fn catalog_at(&self) -> Arc<CatalogAt> {
        self.catalog_at.load_full()
    }

    fn apply_event(&self, event: &Event, row: u32) {
        let weight = self.options.events.get(&event.event_type).and_then(|meaning| meaning.positive_weight(event));
        let met = match self.options.seen_by {
            SeenBy::Nothing => false,
            SeenBy::Positive => weight.is_some(),
            SeenBy::Anything => true,
        };
        let at = event.timestamp;
        let liked = weight.map(|weight| Liked { row, weight, at });
        self.users.met(&event.user_id, met.then(|| Seen::new(row, at)), liked);
        if let Some(weight) = weight {
            self.popularity.apply(&mut self.popularity_state.lock(), Like { row, weight, at });
        }
    }

    /// The last applied record.
    pub fn position(&self) -> Option<Position> {
        self.applied.load(Ordering::Acquire).checked_sub(1).map(Position)
    }

    /// A copy of what is known of a user.
    pub fn user(&self, id: &str, now: Timestamp) -> Option<User> {
        self.users.get(id, now)
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// The first `limit` user ids after `after`, in order. Looks at every user: for people who browse.
    pub fn user_ids_after(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        self.users.ids_after(after, limit)
    }

    /// The rankings for `now`. They are computed anew when records were applied or the window moved, but not before a hundred times their
    /// own computing time has passed: all callers together spend at most 1 % of a core on it, and while one computes, others take what is
    /// there. A server that calls [`refresh`](Self::refresh) every second spares its requests that.
    pub fn rankings(&self, now: Timestamp) -> Arc<Rankings> {
        let ranked = self.rankings.load();
        let guard = match self.staleness(&ranked, now) {
            Staleness::Current => None,
            Staleness::Old => self.ranking.try_lock(),
            Staleness::Unusable => Some(self.ranking.lock()),
        };
        let Some(_guard) = guard else { return Arc::clone(&ranked.rankings) };
        let ranked = self.rankings.load();
        if matches!(self.staleness(&ranked, now), Staleness::Current) {
            return Arc::clone(&ranked.rankings);
        }
        self.rank(now)
    }

    /// Computes the rankings for `now`, unless nothing can have changed.
    pub fn refresh(&self, now: Timestamp) {
        let _guard = self.ranking.lock();
        let ranked = self.rankings.load();
        if ranked.applied != Some(self.applied.load(Ordering::Acquire)) || self.moved(&ranked, now) != 0 {
            self.rank(now);
        }
    }

    /// Makes these the rankings until records are applied or their window moves.
    pub(crate) fn put_rankings(&self, rankings: Rankings) {
        let applied = Some(self.applied.load(Ordering::Acquire));
        let (made, took) = (Instant::now(), Duration::ZERO);
        self.rankings.store(Arc::new(Ranked { rankings: Arc::new(rankings), applied, made, took }));
    }

    fn rank(&self, now: Timestamp) -> Arc<Rankings> {
        let began = Instant::now();
        let applied = self.applied.load(Ordering::Acquire);
        let popularity = {
            let mut state = self.popularity_state.lock();
            self.popularity.forget(&mut state, now);
            self.popularity.read(&state, now)
        };
        let catalog = self.catalog.snapshot();
        let rows = catalog.len() as u32;
        let rankings =
            Arc::new(Rankings::new(now, rows, popularity, |row| catalog.alive(row), |row| catalog.first_seen(row)));
        self.rankings.store(Arc::new(Ranked {
            rankings: Arc::clone(&rankings),
            applied: Some(applied),
            made: Instant::now(),
            took: began.elapsed(),
        }));
        rankings
    }

    fn staleness(&self, ranked: &Ranked, now: Timestamp) -> Staleness {
        let moved = self.moved(ranked, now);
        if ranked.applied.is_none() || moved > 1 {
            Staleness::Unusable
        } else if (moved == 0 && ranked.applied == Some(self.applied.load(Ordering::Acquire)))
            || ranked.made.elapsed() < ranked.took * RANKING_SHARE
        {
            Staleness::Current
        } else {
            Staleness::Old
        }
    }

    /// How many tiles lie between the moment of the rankings and `now`.
    fn moved(&self, ranked: &Ranked, now: Timestamp) -> u64 {
        let hop = self.popularity.hop().as_micros();
        let tile = |at: Timestamp| at.as_micros().div_euclid(hop);
        tile(now).abs_diff(tile(ranked.rankings.at()))
    }
}

enum Staleness {
    Current,
    Old,
    Unusable,
}
