//! The state of all users: a table in shards, each behind a lock that is held for one user's change or copy. One writer, any number of
//! readers.

use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, RandomState};

use parking_lot::RwLock;
use tastemaker_types::{Attributes, EntityUpsert, Position, Timestamp, UpsertMode};

use crate::Aggregate;
use crate::entity::EntityFeatures;
use crate::recent::{Liked, Recent, Seen};

const SHARDS: usize = 64;

/// What is remembered of users, and how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserFeatures {
    pub(crate) history: Recent<Liked>,
    pub(crate) seen: Recent<Seen>,
}

/// One user, as remembered.
#[derive(Debug, Default)]
struct State {
    history: Vec<Liked>,
    seen: Vec<Seen>,
    attributes: Option<Box<Attributes>>,
    features: Option<Box<UserState>>,
}

/// What is remembered of a user for features.
#[derive(Debug, Default)]
pub(crate) struct UserState {
    pub(crate) own: EntityFeatures,
    /// By row of the item.
    pub(crate) pairs: HashMap<u32, EntityFeatures>,
}

/// One user as they are, while they are locked.
pub(crate) struct UserView<'a> {
    pub(crate) features: Option<&'a UserState>,
    pub(crate) attributes: Option<&'a Attributes>,
    history: &'a [Liked],
    table: &'a UserFeatures,
}

impl UserView<'_> {
    pub(crate) fn history(&self, now: Timestamp) -> Vec<Liked> {
        self.table.history.read(&self.history.to_vec(), now).copied().collect()
    }
}

/// One user at one moment: a copy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    /// Liked items, latest first.
    pub history: Vec<Liked>,
    /// Rows of the items met, latest first.
    pub seen: Vec<u32>,
    /// What is known of the user.
    pub attributes: Attributes,
}

pub(crate) struct UserTable {
    features: UserFeatures,
    hasher: RandomState,
    shards: Vec<RwLock<HashMap<Box<str>, State>>>,
}

impl UserTable {
    pub(crate) fn new(features: UserFeatures) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { features, hasher: RandomState::new(), shards }
    }

    fn shard(&self, id: &str) -> Option<&RwLock<HashMap<Box<str>, State>>> {
        // Not the low bits: the map inside of the shard uses a hasher of its own, but there is no need to rely on that.
        self.shards.get((self.hasher.hash_one(id) >> 32) as usize % SHARDS)
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut State)) {
        let Some(mut shard) = self.shard(id).map(RwLock::write) else { return };
        match shard.get_mut(id) {
            Some(state) => change(state),
            None => {
                let mut state = State::default();
                change(&mut state);
                shard.insert(id.into(), state);
            }
        }
    }

    /// The user did something: met `seen`, and liked `liked`, if they are there.
    pub(crate) fn met(&self, id: &str, seen: Option<Seen>, liked: Option<Liked>) {
        self.change(id, |state| {
            seen.into_iter().for_each(|seen| self.features.seen.apply(&mut state.seen, seen));
            liked.into_iter().for_each(|liked| self.features.history.apply(&mut state.history, liked));
        });
    }

    /// Changes what is remembered of the user for features.
    pub(crate) fn change_features(&self, id: &str, change: impl FnOnce(&mut UserState)) {
        self.change(id, |state| change(state.features.get_or_insert_default()));
    }

    /// What `read` makes of a user, if there is one.
    pub(crate) fn read<T>(&self, id: &str, read: impl FnOnce(Option<UserView<'_>>) -> T) -> T {
        let shard = self.shard(id).map(RwLock::read);
        read(shard.as_ref().and_then(|shard| shard.get(id)).map(|state| UserView {
            features: state.features.as_deref(),
            attributes: state.attributes.as_deref(),
            history: &state.history,
            table: &self.features,
        }))
    }

    /// Changes the user's attributes and, if there are features, notes where, both at once: who reads one reads the other.
    pub(crate) fn upsert(&self, upsert: &EntityUpsert, touched: Option<Position>) {
        self.change(&upsert.id, |state| {
            let mut attributes = match upsert.mode {
                UpsertMode::Merge => state.attributes.take().map(|boxed| *boxed).unwrap_or_default(),
                UpsertMode::Replace => Attributes::new(),
            };
            attributes.extend(upsert.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
            state.attributes = (!attributes.is_empty()).then(|| Box::new(attributes));
            if let Some(position) = touched {
                state.features.get_or_insert_default().own.touch(position);
            }
        });
    }

    /// What `make` makes of a user's history, items met and features, if there is such a user.
    pub(crate) fn portable<T>(
        &self,
        id: &str,
        make: impl FnOnce(&[Liked], &[Seen], Option<&UserState>) -> T,
    ) -> Option<T> {
        let shard = self.shard(id)?.read();
        let state = shard.get(id)?;
        Some(make(&state.history, &state.seen, state.features.as_deref()))
    }

    /// Makes a user be just this.
    pub(crate) fn put(
        &self,
        id: &str,
        history: Vec<Liked>,
        seen: Vec<Seen>,
        attributes: Attributes,
        features: UserState,
    ) {
        let attributes = (!attributes.is_empty()).then(|| Box::new(attributes));
        self.change(id, |state| *state = State { history, seen, attributes, features: Some(Box::new(features)) });
    }

    pub(crate) fn forget(&self, id: &str) {
        if let Some(shard) = self.shard(id) {
            shard.write().remove(id);
        }
    }

    pub(crate) fn get(&self, id: &str, now: Timestamp) -> Option<User> {
        let shard = self.shard(id)?.read();
        let state = shard.get(id)?;
        Some(User {
            history: self.features.history.read(&state.history, now).copied().collect(),
            seen: self.features.seen.read(&state.seen, now).map(|seen| seen.row).collect(),
            attributes: state.attributes.as_deref().cloned().unwrap_or_default(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// The first `limit` ids after `after`, in order. Looks at every id: for people who browse, not for requests.
    pub(crate) fn ids_after(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        let mut first: BinaryHeap<String> = BinaryHeap::new();
        for shard in &self.shards {
            for id in shard.read().keys().filter(|id| after.is_none_or(|after| &***id > after)) {
                if first.len() < limit {
                    first.push(id.to_string());
                } else if first.peek().is_some_and(|last| &**id < last.as_str()) {
                    first.pop();
                    first.push(id.to_string());
                }
            }
        }
        first.into_sorted_vec()
    }
}
