//! All entities that the log says something of, by number.

use indexmap::IndexSet;
use tastemaker_config::Entity;

/// What an entry takes beside its key: its hash, its place in the index, its allocation.
const ENTRY_BYTES: usize = 40;

/// Numbers in the order of the first mention.
#[derive(Default)]
pub(super) struct Everybody {
    users: IndexSet<Box<str>>,
    items: IndexSet<Box<str>>,
    /// Numbers of both.
    pairs: IndexSet<(u32, u32)>,
    bytes: usize,
}

impl Everybody {
    /// The number of an entity, which it has from now on.
    pub(super) fn number(&mut self, entity: Entity, user: Option<&str>, item: Option<&str>) -> Option<u32> {
        let Self { users, items, pairs, bytes } = self;
        match entity {
            Entity::User => number_of(users, user?, bytes),
            Entity::Item => number_of(items, item?, bytes),
            Entity::Pair => {
                let pair = (number_of(users, user?, bytes)?, number_of(items, item?, bytes)?);
                let (number, new) = pairs.insert_full(pair);
                *bytes += if new { size_of_val(&pair) + ENTRY_BYTES } else { 0 };
                u32::try_from(number).ok()
            }
        }
    }

    /// The ids of a user or an item, or of both.
    pub(super) fn ids(&self, entity: Entity, number: u32) -> (Option<&str>, Option<&str>) {
        match entity {
            Entity::User => (self.user(number), None),
            Entity::Item => (None, self.item(number)),
            Entity::Pair => match self.pairs.get_index(number as usize) {
                Some((user, item)) => (self.user(*user), self.item(*item)),
                None => (None, None),
            },
        }
    }

    fn user(&self, number: u32) -> Option<&str> {
        self.users.get_index(number as usize).map(|id| &**id)
    }

    fn item(&self, number: u32) -> Option<&str> {
        self.items.get_index(number as usize).map(|id| &**id)
    }

    /// What all this takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn number_of(ids: &mut IndexSet<Box<str>>, id: &str, bytes: &mut usize) -> Option<u32> {
    let number = ids.get_index_of(id).unwrap_or_else(|| {
        *bytes += id.len() + size_of::<Box<str>>() + ENTRY_BYTES;
        ids.insert_full(id.into()).0
    });
    u32::try_from(number).ok()
}
