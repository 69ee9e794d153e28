//! What is remembered of one entity, and how it is stored.
//!
//! Stored state is a format version (1 byte), the kernel's fingerprint and a CRC-32C of the rest (8 and 4 bytes, little-endian), and
//! the state in [postcard](https://postcard.jamesmunns.com/wire-format).

use serde::{Deserialize, Serialize};
use tastemaker_types::{FeatureValue, Timestamp};

use super::accumulator::Accumulator;
use super::ahead::Ahead;
use super::definition::Feature;
use super::input::{InputValue, Role};
use super::tiles::insert_tight;

/// Rises when older bytes would be misread.
const FORMAT: u8 = 2;
const HEADER: usize = 1 + size_of::<u64>() + size_of::<u32>();

/// Why stored state is refused. Rebuild it from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written in another format.
    #[error("feature state is in format {0}, this version reads {FORMAT}; rebuild it from the log")]
    Format(u8),
    /// Written under other definitions.
    #[error(
        "feature state belongs to other definitions ({found:016x}, these are {expected:016x}); rebuild it from the log"
    )]
    Definitions {
        /// The fingerprint of the definitions that it was written under.
        found: u64,
        /// That of this kernel.
        expected: u64,
    },
    /// Cut off, changed, or something else altogether.
    #[error("feature state is damaged; rebuild it from the log")]
    Damaged,
}

/// What is remembered of one entity. [`Kernel`](super::Kernel) writes and reads it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EntityState {
    /// Only the features that took anything in, by number.
    pub(super) slots: Vec<Slot>,
    pub(super) ahead: Option<Box<Ahead>>,
}

/// One feature of one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slot {
    feature: u16,
    latest: i64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Content {
    Whole(Accumulator),
    /// In the order of keys.
    Groups(Vec<Group>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Group {
    key: Box<str>,
    latest: i64,
    accumulator: Accumulator,
}

impl EntityState {
    /// Whether no feature took anything in, and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.ahead.is_none()
    }

    /// The slot of this feature, new if need be.
    pub(super) fn slot(&mut self, index: u16, feature: &Feature) -> Option<&mut Slot> {
        let place = match self.slots.binary_search_by_key(&index, |slot| slot.feature) {
            Ok(place) => place,
            Err(place) => {
                let content = match feature.definition.groups {
                    None => Content::Whole(Accumulator::new(&feature.definition.operation)),
                    Some(_) => Content::Groups(Vec::new()),
                };
                insert_tight(&mut self.slots, place, Slot { feature: index, latest: i64::MIN, content });
                place
            }
        };
        self.slots.get_mut(place)
    }

    /// The slot of this feature, if it took anything in.
    pub(super) fn get(&self, index: usize) -> Option<&Slot> {
        let place = self.slots.binary_search_by_key(&index, |slot| usize::from(slot.feature)).ok()?;
        self.slots.get(place)
    }

    pub(super) fn encode(&self, fingerprint: u64) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(fingerprint.to_le_bytes());
        bytes.extend([0; size_of::<u32>()]);
        // Lists of known length cannot fail to be written into memory. If they did, nothing at all is written, which no one can decode.
        let mut bytes = postcard::to_extend(self, bytes).unwrap_or_default();
        let checksum = crc32c::crc32c(bytes.get(HEADER..).unwrap_or_default());
        if let Some(place) = bytes.get_mut(HEADER - size_of::<u32>()..HEADER) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`EntityState::encode`] has written.
    pub(super) fn decode(bytes: &[u8], expected: u64) -> Result<Self, StateError> {
        let (&format, rest) = bytes.split_first().ok_or(StateError::Damaged)?;
        if format != FORMAT {
            return Err(StateError::Format(format));
        }
        let (fingerprint, rest) = rest.split_first_chunk().ok_or(StateError::Damaged)?;
        let found = u64::from_le_bytes(*fingerprint);
        if found != expected {
            return Err(StateError::Definitions { found, expected });
        }
        let (checksum, body) = rest.split_first_chunk().ok_or(StateError::Damaged)?;
        if u32::from_le_bytes(*checksum) != crc32c::crc32c(body) {
            return Err(StateError::Damaged);
        }
        postcard::from_bytes(body).map_err(|_| StateError::Damaged)
    }
}

impl Slot {
    pub(super) fn feature(&self) -> u16 {
        self.feature
    }

    /// The time of the latest event that was taken in.
    pub(super) fn latest(&self) -> Timestamp {
        Timestamp::from_micros(self.latest)
    }

    pub(super) fn take(
        &mut self,
        feature: &Feature,
        at: Timestamp,
        value: InputValue<'_>,
        group: Option<&str>,
        role: Role,
    ) {
        self.latest = self.latest.max(at.as_micros());
        match (&mut self.content, feature.definition.groups, group) {
            (Content::Whole(accumulator), ..) => accumulator.take(feature, at, value, role),
            (Content::Groups(groups), Some(most), Some(key)) => {
                let group = group_of(groups, key, feature);
                if let Some(group) = group {
                    group.latest = group.latest.max(at.as_micros());
                    group.accumulator.take(feature, at, value, role);
                }
                forget_groups(groups, most);
            }
            // Not admitted: no group.
            _ => {}
        }
    }

    pub(super) fn merge(&mut self, feature: &Feature, other: &Self) {
        self.latest = self.latest.max(other.latest);
        match (&mut self.content, &other.content, feature.definition.groups) {
            (Content::Whole(mine), Content::Whole(theirs), _) => mine.merge(feature, theirs),
            (Content::Groups(mine), Content::Groups(theirs), Some(most)) => {
                for group in theirs {
                    if let Some(mine) = group_of(mine, &group.key, feature) {
                        mine.latest = mine.latest.max(group.latest);
                        mine.accumulator.merge(feature, &group.accumulator);
                    }
                    forget_groups(mine, most);
                }
            }
            // The state of another kernel, which has nothing to say to this one.
            _ => {}
        }
    }

    /// The value at `now`; of a grouped feature a map of the groups that have a value.
    pub(super) fn read(&self, feature: &Feature, now: Timestamp) -> Option<FeatureValue> {
        match &self.content {
            Content::Whole(accumulator) => accumulator.read(feature, now),
            Content::Groups(groups) => {
                let named = groups.iter().filter_map(|group| Some((group.key.to_string(), group.read(feature, now)?)));
                Some(FeatureValue::Map(named.collect()))
            }
        }
    }

    /// The value of one group at `now`.
    pub(super) fn read_group(&self, feature: &Feature, key: &str, now: Timestamp) -> Option<f64> {
        let Content::Groups(groups) = &self.content else { return None };
        let place = groups.binary_search_by(|group| (*group.key).cmp(key)).ok()?;
        groups.get(place)?.read(feature, now)
    }
}

impl Group {
    fn read(&self, feature: &Feature, now: Timestamp) -> Option<f64> {
        match self.accumulator.read(feature, now)? {
            FeatureValue::Number(number) => Some(number),
            _ => None,
        }
    }
}

/// The group of this key, new if need be.
fn group_of<'a>(groups: &'a mut Vec<Group>, key: &str, feature: &Feature) -> Option<&'a mut Group> {
    let place = match groups.binary_search_by(|group| (*group.key).cmp(key)) {
        Ok(place) => place,
        Err(place) => {
            let accumulator = Accumulator::new(&feature.definition.operation);
            insert_tight(groups, place, Group { key: key.into(), latest: i64::MIN, accumulator });
            place
        }
    };
    groups.get_mut(place)
}

/// Forgets the groups beyond the most that may be: those whose latest event is the earliest.
fn forget_groups(groups: &mut Vec<Group>, most: u32) {
    while groups.len() > most as usize {
        let stalest = groups.iter().enumerate().min_by_key(|(_, group)| group.latest).map(|(place, _)| place);
        groups.remove(stalest.unwrap_or(0));
    }
}
