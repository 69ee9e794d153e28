//! What is known of one user or item as bytes, to be kept in another process and read there by the same code: a format version (1 byte), a
//! fingerprint of the declared features and a CRC-32C of the rest (8 and 4 bytes, little-endian), and the rest in
//! [postcard](https://postcard.jamesmunns.com/wire-format). Items are named by their ids, since rows are those of one process. Attributes are not
//! in it: they are kept where they can be read by name.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tastemaker_config::Entity;
use tastemaker_types::{Attributes, FeatureValue, Position, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use crate::OnlineState;
use crate::entity::{EntityFeatures, ViewRow};
use crate::kernel::EntityState;
use crate::ranking::Rankings;
use crate::recent::{Liked, Seen};
use crate::set::FeatureSet;
use crate::users::UserState;

/// Rises when older bytes would be misread.
const FORMAT: u8 = 1;
const HEADER: usize = 1 + size_of::<u64>() + size_of::<u32>();

/// Why bytes are refused. The remedy is the same for all: write them again from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortableError {
    /// Written in another format.
    #[error("state is in format {0}, this version reads {FORMAT}; rebuild it from the log")]
    Format(u8),
    /// Written under other declarations of features.
    #[error("state was written under other declarations of features; rebuild it from the log")]
    Definitions,
    /// Cut off, changed, or something else altogether.
    #[error("state is damaged; rebuild it from the log")]
    Damaged,
}

/// An item that a user liked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LikedItem {
    /// The item.
    pub item_id: String,
    /// The sum of the weights of the user's positive events with it.
    pub weight: f32,
    /// Microseconds since 1970 of the latest of them.
    at: i64,
}

/// One user, as remembered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PortableUser {
    /// Ascending by time.
    history: Vec<LikedItem>,
    /// Items met and when, in seconds since 1970; ascending by time.
    seen: Vec<(String, u32)>,
    own: PortableFeatures,
    pairs: Vec<(String, PortableFeatures)>,
}

/// What is remembered of one entity for its features.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct PortableFeatures {
    version: u64,
    state: EntityState,
    rows: Vec<PortableRow>,
}

/// The newest row of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PortableRow {
    view: u16,
    event_time: i64,
    created: i64,
    values: Vec<Option<PortableValue>>,
}

/// [`FeatureValue`], whose own form is made for JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum PortableValue {
    Number(f64),
    Text(String),
    Bool(bool),
    Time(i64),
    Texts(Vec<String>),
    Vector(Vec<f32>),
    Map(Vec<(String, f64)>),
}

impl PortableUser {
    /// Reads what [`OnlineState::export_user`] wrote under the same declarations.
    ///
    /// # Errors
    /// [`PortableError`] for anything else.
    pub fn decode(features: &FeatureSet, bytes: &[u8]) -> Result<Self, PortableError> {
        unseal(features.stored_fingerprint(), bytes)
    }

    /// Items liked, latest first.
    pub fn history(&self) -> impl Iterator<Item = &LikedItem> {
        self.history.iter().rev()
    }

    /// How many items the user has met, as far as remembered.
    pub fn seen_count(&self) -> usize {
        self.seen.len()
    }
}

impl OnlineState {
    /// What is known of a user; nothing of one who is not known.
    pub fn export_user(&self, id: &str) -> Option<Vec<u8>> {
        let catalog = self.catalog().snapshot();
        let item = |row: u32| catalog.id(row).map(|id| id.to_string());
        let user = self.users().portable(id, |history, seen, features| {
            let liked = |liked: &Liked| {
                Some(LikedItem { item_id: item(liked.row)?, weight: liked.weight, at: liked.at.as_micros() })
            };
            let mut pairs: Vec<(String, PortableFeatures)> = features
                .iter()
                .flat_map(|features| &features.pairs)
                .filter_map(|(row, pair)| Some((item(*row)?, pair.into())))
                .collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            PortableUser {
                history: history.iter().filter_map(liked).collect(),
                seen: seen.iter().filter_map(|seen| Some((item(seen.row)?, seen.seconds))).collect(),
                own: features.map(|features| (&features.own).into()).unwrap_or_default(),
                pairs,
            }
        })?;
        Some(seal(self.features().stored_fingerprint(), &user))
    }

    /// Takes a user over, as far as the user's items are in this state's catalog.
    pub fn import_user(&self, id: &str, user: &PortableUser, attributes: Attributes) {
        let catalog = self.catalog().snapshot();
        let row = |item: &str| catalog.row(item);
        let liked = user.history.iter().filter_map(|liked| {
            let at = Timestamp::from_micros(liked.at);
            Some(Liked { row: row(&liked.item_id)?, weight: liked.weight, at })
        });
        // In the order that they had, in which equal times are by the rows of the other catalog: what is liked last stays so.
        let liked: Vec<Liked> = liked.collect();
        let met = user.seen.iter().filter_map(|(item, seconds)| Some(Seen { row: row(item)?, seconds: *seconds }));
        let seen: Vec<Seen> = met.collect();
        let pairs = user.pairs.iter().filter_map(|(item, pair)| Some((row(item)?, pair.into())));
        let features = UserState { own: (&user.own).into(), pairs: pairs.collect() };
        self.users().put(id, liked, seen, attributes, features);
    }

    /// What is remembered of an item for its features, if anything.
    pub fn export_item(&self, row: u32) -> Option<Vec<u8>> {
        let fingerprint = self.features().stored_fingerprint();
        self.items().read(row, |features| features.map(|features| seal(fingerprint, &PortableFeatures::from(features))))
    }

    /// Takes over what is remembered of an item.
    ///
    /// # Errors
    /// [`PortableError`] if [`OnlineState::export_item`] did not write it under the same declarations.
    pub fn import_item(&self, row: u32, bytes: &[u8]) -> Result<(), PortableError> {
        let features: PortableFeatures = unseal(self.features().stored_fingerprint(), bytes)?;
        self.items().change(row, |known| *known = (&features).into());
        Ok(())
    }
}

/// What is popular and new, by id: at most [`LISTED`](crate::LISTED) items of each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PortableRankings {
    at: i64,
    scale: f32,
    /// With the weight of each, most popular first.
    popular: Vec<(String, f32)>,
    /// With the time of first sight of each, newest first.
    newest: Vec<(String, i64)>,
    /// Where each item is listed.
    #[serde(skip)]
    places: HashMap<String, Places>,
}

/// Where an item is listed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Places {
    popular: Option<usize>,
    newest: Option<usize>,
}

impl PortableRankings {
    /// Reads what [`OnlineState::export_rankings`] wrote.
    ///
    /// # Errors
    /// [`PortableError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, PortableError> {
        let mut rankings: Self = unseal(NO_FEATURES, bytes)?;
        for (place, (id, _)) in rankings.popular.iter().enumerate() {
            rankings.places.entry(id.clone()).or_default().popular = Some(place);
        }
        for (place, (id, _)) in rankings.newest.iter().enumerate() {
            rankings.places.entry(id.clone()).or_default().newest = Some(place);
        }
        Ok(rankings)
    }

    /// The moment they were made for.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at)
    }

    /// Every item that is listed, some twice.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.popular.iter().map(|(id, _)| id).chain(self.newest.iter().map(|(id, _)| id)).map(String::as_str)
    }
}

impl OnlineState {
    /// The rankings for `now`, by id.
    pub fn export_rankings(&self, now: Timestamp) -> Vec<u8> {
        let (rankings, catalog) = (self.rankings(now), self.catalog().snapshot());
        let id = |row: u32| catalog.id(row).map(|id| id.to_string());
        let popular = rankings.popular().iter().filter_map(|row| Some((id(*row)?, rankings.weight(*row))));
        let newest = rankings.newest().iter().filter_map(|(row, at)| Some((id(*row)?, at.as_micros())));
        let (at, scale) = (rankings.at().as_micros(), rankings.scale());
        let (popular, newest) = (popular.collect(), newest.collect());
        seal(NO_FEATURES, &PortableRankings { at, scale, popular, newest, places: HashMap::new() })
    }

    /// Takes over rankings made for `now` or a little before, as far as their items are in this state's catalog. They hold until records are applied.
    pub fn import_rankings(&self, rankings: &PortableRankings, now: Timestamp) {
        let catalog = self.catalog().snapshot();
        let mut weights = vec![0f32; catalog.len()];
        let (mut popular, mut newest, mut later) = (Vec::new(), Vec::new(), Vec::new());
        // By the items that are here: far more may be listed.
        for (row, weight) in (0u32..).zip(&mut weights) {
            let places = catalog.id(row).and_then(|id| rankings.places.get(&**id)).copied().unwrap_or_default();
            if let Some((place, (_, listed))) =
                places.popular.and_then(|place| Some((place, rankings.popular.get(place)?)))
            {
                *weight = *listed;
                popular.push((place, row));
            }
            match places.newest.and_then(|place| Some((place, rankings.newest.get(place)?))) {
                Some((place, (_, at))) => newest.push((place, row, Timestamp::from_micros(*at))),
                // What came after the rankings were made is newer than all of them.
                None => later.extend(
                    catalog
                        .first_seen(row)
                        .filter(|seen| *seen > rankings.at() && *seen <= now)
                        .map(|seen| (row, seen)),
                ),
            }
        }
        popular.sort_unstable();
        newest.sort_unstable();
        later.sort_unstable_by_key(|(row, seen)| (Reverse(*seen), *row));
        let popular = popular.into_iter().map(|(_, row)| row).collect();
        later.extend(newest.into_iter().map(|(_, row, at)| (row, at)));
        self.put_rankings(Rankings::restored(now, weights, rankings.scale, popular, later));
    }
}

impl FeatureSet {
    /// The same for the same stored features in the same order, in every process.
    pub fn stored_fingerprint(&self) -> u64 {
        let kernels =
            [Entity::User, Entity::Item, Entity::Pair].map(|entity| self.streams(entity).kernel().fingerprint());
        let views: Vec<_> = self.views().iter().map(|view| (&view.name, view.entity.name(), &view.columns)).collect();
        xxh3_64(format!("{kernels:?} {views:?}").as_bytes())
    }
}

/// In the place of a fingerprint where no features matter.
const NO_FEATURES: u64 = 0;

fn seal<T: Serialize>(fingerprint: u64, content: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(fingerprint.to_le_bytes());
    bytes.extend([0; size_of::<u32>()]);
    // Plain data cannot fail to be written into memory. If it did, nothing at all is written, which no one can read.
    let mut bytes = postcard::to_extend(content, bytes).unwrap_or_default();
    let checksum = crc32c::crc32c(bytes.get(HEADER..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(HEADER - size_of::<u32>()..HEADER) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn unseal<'a, T: Deserialize<'a>>(expected: u64, bytes: &'a [u8]) -> Result<T, PortableError> {
    let (&format, rest) = bytes.split_first().ok_or(PortableError::Damaged)?;
    if format != FORMAT {
        return Err(PortableError::Format(format));
    }
    let (fingerprint, rest) = rest.split_first_chunk().ok_or(PortableError::Damaged)?;
    if u64::from_le_bytes(*fingerprint) != expected {
        return Err(PortableError::Definitions);
    }
    let (checksum, body) = rest.split_first_chunk().ok_or(PortableError::Damaged)?;
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(body) {
        return Err(PortableError::Damaged);
    }
    postcard::from_bytes(body).map_err(|_| PortableError::Damaged)
}

impl From<&EntityFeatures> for PortableFeatures {
    fn from(features: &EntityFeatures) -> Self {
        let version = features.version().map_or(0, |position| position.0 + 1);
        Self { version, state: features.state().clone(), rows: features.rows().iter().map(PortableRow::from).collect() }
    }
}

impl From<&PortableFeatures> for EntityFeatures {
    fn from(features: &PortableFeatures) -> Self {
        let version = features.version.checked_sub(1).map(Position);
        Self::restored(version, features.state.clone(), features.rows.iter().map(ViewRow::from).collect())
    }
}

impl From<&ViewRow> for PortableRow {
    fn from(row: &ViewRow) -> Self {
        Self {
            view: row.view,
            event_time: row.event_time.as_micros(),
            created: row.created.as_micros(),
            values: row.values.iter().map(|value| value.as_ref().map(PortableValue::from)).collect(),
        }
    }
}

impl From<&PortableRow> for ViewRow {
    fn from(row: &PortableRow) -> Self {
        Self {
            view: row.view,
            event_time: Timestamp::from_micros(row.event_time),
            created: Timestamp::from_micros(row.created),
            values: row.values.iter().map(|value| value.as_ref().map(FeatureValue::from)).collect(),
        }
    }
}

impl From<&FeatureValue> for PortableValue {
    fn from(value: &FeatureValue) -> Self {
        match value {
            FeatureValue::Number(number) => Self::Number(*number),
            FeatureValue::Text(text) => Self::Text(text.clone()),
            FeatureValue::Bool(truth) => Self::Bool(*truth),
            FeatureValue::Time(at) => Self::Time(at.as_micros()),
            FeatureValue::Texts(texts) => Self::Texts(texts.clone()),
            FeatureValue::Vector(vector) => Self::Vector(vector.clone()),
            FeatureValue::Map(map) => Self::Map(map.clone()),
        }
    }
}

impl From<&PortableValue> for FeatureValue {
    fn from(value: &PortableValue) -> Self {
        match value {
            PortableValue::Number(number) => Self::Number(*number),
            PortableValue::Text(text) => Self::Text(text.clone()),
            PortableValue::Bool(truth) => Self::Bool(*truth),
            PortableValue::Time(at) => Self::Time(Timestamp::from_micros(*at)),
            PortableValue::Texts(texts) => Self::Texts(texts.clone()),
            PortableValue::Vector(vector) => Self::Vector(vector.clone()),
            PortableValue::Map(map) => Self::Map(map.clone()),
        }
    }
}
