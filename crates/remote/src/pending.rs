//! What waits to be written to Redis.

use std::collections::HashSet;

use tastemaker_types::{Position, Record};

/// About as many users are written in the time of an item that an index holds.
const USERS_PER_ITEM: usize = 128;

/// Users and items that changed, each once however often.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) users: HashSet<Box<str>>,
    pub(crate) items: HashSet<Box<str>>,
    /// The last record whose users and items were noted.
    pub(crate) through: Option<Position>,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.users.len() + self.items.len()
    }

    /// How long writing it takes, in users.
    pub(crate) fn cost(&self) -> usize {
        self.users.len() + USERS_PER_ITEM * self.items.len()
    }

    /// Notes what a record touched; of an event's item only what `event_of` says.
    pub(crate) fn note(&mut self, record: &Record, event_of: impl FnOnce(&str) -> bool) {
        match record {
            Record::Event(event) => {
                add(&mut self.users, &event.user_id);
                if event_of(&event.item_id) {
                    add(&mut self.items, &event.item_id);
                }
            }
            Record::FeatureRow(row) => {
                row.user_id.iter().for_each(|id| add(&mut self.users, id));
                row.item_id.iter().for_each(|id| add(&mut self.items, id));
            }
            Record::UserUpsert(upsert) => add(&mut self.users, &upsert.id),
            Record::UserDelete { id, .. } => add(&mut self.users, id),
            Record::ItemUpsert(upsert) => add(&mut self.items, &upsert.id),
            Record::ItemDelete { id, .. } => add(&mut self.items, id),
            Record::Served(_) => {}
        }
    }

    /// Takes what the other has, and how far it reaches.
    pub(crate) fn take(&mut self, other: &mut Self) {
        for (own, others) in [(&mut self.users, &mut other.users), (&mut self.items, &mut other.items)] {
            if own.is_empty() {
                std::mem::swap(own, others);
            } else {
                own.extend(others.drain());
            }
        }
        self.through = other.through;
    }

    /// These wait no longer.
    pub(crate) fn done(&mut self, users: &[Box<str>], items: &[Box<str>]) {
        for id in users {
            self.users.remove(id);
        }
        for id in items {
            self.items.remove(id);
        }
    }

    /// Some of the users and items, which stay.
    pub(crate) fn some(&self, users: usize, items: usize) -> (Vec<Box<str>>, Vec<Box<str>>) {
        (self.users.iter().take(users).cloned().collect(), self.items.iter().take(items).cloned().collect())
    }
}

fn add(ids: &mut HashSet<Box<str>>, id: &str) {
    if !ids.contains(id) {
        ids.insert(id.into());
    }
}
