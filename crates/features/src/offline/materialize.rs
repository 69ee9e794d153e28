//! Materialization: the newest row of each entity of a batch table becomes a record of the log, from which every copy of the online state
//! learns it. What the log has already is left out, so that doing it again writes nothing.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch};
use tastemaker_config::Entity;
use tastemaker_log::LogReader;
use tastemaker_types::{FeatureRow, FeatureValue, MAX_RECORD_BYTES, Position, Record, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::stored::Stored;
use super::{OfflineError, Progress};
use crate::columns::value_at;
use crate::set::{ValueType, View};
use crate::table::TableBatches;

/// Records between two calls of `progress`.
const STEP: u64 = 8_192;
/// The longest text, in bytes, and the longest list of texts or numbers, as for rows that are pushed.
const MAX_TEXT_BYTES: usize = tastemaker_types::attribute::MAX_TEXT_BYTES;
const MAX_TEXTS: usize = tastemaker_types::attribute::MAX_TAGS;
const MAX_DIMENSIONS: usize = 4_096;
const NO_KEY: &str = "the key is null";
const NO_TIME: &str = "the event time is null or out of range";
/// Examples of refused rows that are kept.
const EXAMPLES: usize = 10;
/// Reasons that are told apart.
const REASONS: usize = 50;

/// The newest row that the log has of each entity and view.
#[derive(Debug, Default)]
pub struct Materialized {
    /// By user, since users are forgotten; rows of items are under no user.
    rows: HashMap<Box<str>, OfUser>,
    /// When users were deleted last: rows that were created before say nothing of them.
    deleted: HashMap<Box<str>, Timestamp>,
}

/// By view and item.
type OfUser = HashMap<(Box<str>, Box<str>), Newest>;

/// The order of rows, and what tells whether one says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    event_time: Timestamp,
    created: Timestamp,
    values: u64,
}

impl Materialized {
    /// Reads the whole log as of `as_of`: rows of the future, which others may have pushed, stand in the way of none of the present.
    ///
    /// # Errors
    /// A log that cannot be read; [`OfflineError::Interrupted`] if `progress` breaks it off.
    pub fn read(
        log: &LogReader,
        as_of: Timestamp,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self, OfflineError> {
        let end = log.end()?;
        let mut rows = Self::default();
        for record in log.read_from(Position(0)) {
            let (position, record) = record?;
            match &record {
                Record::FeatureRow(row) if row.event_timestamp <= as_of => drop(rows.changes(row)),
                Record::UserDelete { id, timestamp } => {
                    rows.rows.remove(id.as_str());
                    rows.deleted.insert(id.as_str().into(), *timestamp);
                }
                _ => {}
            }
            let done = position.next().0;
            if done.is_multiple_of(STEP) && progress(Progress::Log { done, total: end.0 }).is_break() {
                return Err(OfflineError::Interrupted);
            }
        }
        Ok(rows)
    }

    /// Whether there is any row of a view.
    pub fn has_rows_of(&self, view: &str) -> bool {
        self.rows.values().any(|of_user| of_user.keys().any(|(known, _)| **known == *view))
    }

    /// Whether the row would change what is read online; from then on it is taken to be in the log.
    pub fn changes(&mut self, row: &FeatureRow) -> bool {
        self.differs(row, |new, known| new != known)
    }

    /// Whether the row would change the values that are read online, where a later time alone changes nothing.
    pub fn changes_values(&mut self, row: &FeatureRow) -> bool {
        self.differs(row, |new, known| new.values != known.values)
    }

    fn differs(&mut self, row: &FeatureRow, says_more: fn(&Newest, &Newest) -> bool) -> bool {
        let new = Newest {
            event_time: row.event_timestamp,
            created: row.created.unwrap_or(row.event_timestamp),
            values: fingerprint(&row.values),
        };
        let user = row.user_id.as_deref().unwrap_or_default();
        if row.user_id.is_some() && self.deleted.get(user).is_some_and(|deleted| new.created <= *deleted) {
            return false;
        }
        let key = (row.view.as_str().into(), row.item_id.as_deref().unwrap_or_default().into());
        let of_user = match self.rows.get_mut(user) {
            Some(of_user) => of_user,
            None => self.rows.entry(user.into()).or_default(),
        };
        let changes = of_user.get(&key).is_none_or(|known| {
            (new.event_time, new.created) >= (known.event_time, known.created) && says_more(&new, known)
        });
        if changes {
            of_user.insert(key, new);
        }
        changes
    }
}

/// Of the values in the order of their names.
fn fingerprint(values: &[(String, FeatureValue)]) -> u64 {
    let sorted: BTreeMap<&str, Stored> = values.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
    // Values in memory can always be encoded; if they could not, all rows of one time would look alike.
    xxh3_64(&postcard::to_allocvec(&sorted).unwrap_or_default())
}

/// The rows of a table as rows of a view.
pub struct ViewRows<'a> {
    view: &'a View,
    batches: TableBatches<'a>,
    /// Rows that were read, whether they can be used or not.
    read: u64,
    report: ViewReport,
}

/// What was read, and what of that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewReport {
    /// Rows that could be used.
    pub rows: u64,
    /// Rows that cannot be used, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// The first of them.
    pub examples: Vec<String>,
    /// The latest event or created time that was seen.
    pub latest: Option<Timestamp>,
}

impl ViewReport {
    /// Adds what became of the rows of another chunk. Rows without a key or a time are seen in each chunk, so they count in one alone.
    pub fn add(&mut self, mut other: Self, first: bool) {
        self.rows += other.rows;
        self.latest = self.latest.max(other.latest);
        if !first {
            other.refused.retain(|reason, _| reason != NO_KEY && reason != NO_TIME);
        }
        for (reason, rows) in other.refused {
            *self.refused.entry(reason).or_default() += rows;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    fn refuse(&mut self, mut reason: String, rows: u64, example: Option<String>) {
        if rows > 0 {
            if self.refused.len() >= REASONS {
                "other reasons".clone_into(&mut reason);
            }
            *self.refused.entry(reason).or_default() += rows;
        }
        self.examples.extend(example.filter(|_| self.examples.len() < EXAMPLES));
    }
}

impl<'a> ViewRows<'a> {
    /// Rows of a table that has the columns of `view`, as of [`table_source`](super::table_source).
    pub fn new(view: &'a View, batches: TableBatches<'a>) -> Self {
        Self { view, batches, read: 0, report: ViewReport::default() }
    }

    /// How far it is, from 0 to 1.
    pub fn share_read(&self) -> f64 {
        self.read as f64 / self.batches.rows().max(1) as f64
    }

    /// What became of the rows so far.
    pub fn into_report(mut self) -> ViewReport {
        let refused = self.batches.refused();
        self.report.refuse(NO_KEY.to_owned(), refused.null_keys, None);
        self.report.refuse(NO_TIME.to_owned(), refused.null_times, None);
        self.report
    }

    fn rows(&mut self, batch: &RecordBatch) -> Vec<FeatureRow> {
        self.read += batch.num_rows() as u64;
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let times = |index: usize| {
            batch.columns().get(index).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        };
        let keys = if self.view.entity == Entity::Pair { 2 } else { 1 };
        let has_created = self.batches.table().has_created();
        let users = texts("user_id").filter(|_| self.view.entity != Entity::Item);
        let items = texts("item_id").filter(|_| self.view.entity != Entity::User);
        let first = keys + 1 + usize::from(has_created);
        let features = batch.columns().get(first..).unwrap_or_default();
        let (Some(events), created) = (times(keys), times(keys + 1).filter(|_| has_created)) else { return Vec::new() };
        let mut rows = Vec::with_capacity(batch.num_rows());
        for place in 0..batch.num_rows() {
            let at = Timestamp::from_micros(events.value(place));
            let created = created.filter(|created| created.is_valid(place));
            let created = created.map(|created| Timestamp::from_micros(created.value(place)));
            let row = FeatureRow {
                view: self.view.name.clone(),
                user_id: users.map(|ids| ids.value(place).to_owned()),
                item_id: items.map(|ids| ids.value(place).to_owned()),
                event_timestamp: at,
                created,
                values: values(self.view, features, place),
            };
            self.report.latest = self.report.latest.max(Some(created.map_or(at, |created| created.max(at))));
            match check(&row) {
                Ok(()) => {
                    self.report.rows += 1;
                    rows.push(row);
                }
                Err(reason) => {
                    let key = [row.user_id.as_deref(), row.item_id.as_deref()];
                    let key: Vec<&str> = key.into_iter().flatten().collect();
                    // Keys of any length come from files.
                    let example = format!("{:.80} at {at}: {reason}", key.join(", "));
                    self.report.refuse(reason, 1, Some(example));
                }
            }
        }
        rows
    }
}

impl Iterator for ViewRows<'_> {
    type Item = Result<Vec<FeatureRow>, OfflineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(batch.map(|batch| self.rows(&batch)).map_err(OfflineError::from))
    }
}

fn values(view: &View, features: &[ArrayRef], row: usize) -> Vec<(String, FeatureValue)> {
    let columns = view.columns.iter().zip(features);
    let value =
        |((name, kind), array): ((&String, &ValueType), &ArrayRef)| Some((name.clone(), value_at(*kind, array, row)?));
    columns.filter_map(value).collect()
}

fn check(row: &FeatureRow) -> Result<(), String> {
    row.validate_ids().map_err(|error| error.to_string())?;
    for (name, value) in &row.values {
        let (size, most, what) = match value {
            FeatureValue::Text(text) => (text.len(), MAX_TEXT_BYTES, "bytes"),
            FeatureValue::Vector(vector) => (vector.len(), MAX_DIMENSIONS, "numbers"),
            FeatureValue::Texts(texts) if texts.len() > MAX_TEXTS => (texts.len(), MAX_TEXTS, "texts"),
            FeatureValue::Texts(texts) => {
                (texts.iter().map(String::len).max().unwrap_or(0), MAX_TEXT_BYTES, "bytes in one text")
            }
            _ => continue,
        };
        if size > most {
            return Err(format!("'{name}' is too large: more than {most} {what}"));
        }
    }
    // The values may each be small enough, and no record of the log for all that.
    if row.size_bound() > MAX_RECORD_BYTES {
        return Err(format!("the row is too large: more than {MAX_RECORD_BYTES} bytes in all"));
    }
    Ok(())
}
