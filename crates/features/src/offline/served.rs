//! The features that answers were made with, as rows for training: one for each item of each answer. All come from a replay of the log, but
//! for embeddings: the generation that made them may be gone, so they are taken as they were logged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::Serialize;
use tastemaker_log::LogReader;
use tastemaker_types::{FeatureValue, Position, Record, Served};

use super::replay::{Replayed, replay};
use super::{OfflineError, Progress, column_names};
use crate::columns::{feature_arrow_type, feature_column};
use crate::set::{FeatureId, SharedFeatures, Source};
use crate::table::texts_of;
use crate::{Cell, ReadPlan};

/// Rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// What is computed of which answers.
pub struct ServedRows {
    set: SharedFeatures,
    columns: Vec<(FeatureId, String)>,
    statuses: bool,
    requests: Option<HashSet<String>>,
}

/// What became of the answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ServedReport {
    /// Answers that were written.
    pub answers: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Answers that could not be computed again, by the reason.
    pub missed: BTreeMap<String, u64>,
    /// Answers left out since their user was deleted afterwards: who is forgotten is not trained on.
    pub forgotten: u64,
    /// Request ids that no answer with features has.
    pub not_found: u64,
    /// By embedding: rows that have none, since it was not logged with their answers.
    pub not_logged: BTreeMap<String, u64>,
}

/// The request ids in a Parquet or CSV file with a column `request_id`.
///
/// # Errors
/// A file that cannot be read, or has no such column of texts.
pub fn request_ids(path: &Path) -> Result<HashSet<String>, OfflineError> {
    let mut ids = HashSet::new();
    for column in texts_of(path, "request_id")? {
        ids.extend(column?.iter().flatten().map(str::to_owned));
    }
    Ok(ids)
}

#[derive(Default)]
struct Rows {
    answers: Vec<Served>,
    cells: Vec<Vec<Cell>>,
    rows: usize,
}

impl ServedRows {
    /// The features `wanted` of the answers with these request ids, or of all; with their statuses if wanted.
    pub fn new(set: &SharedFeatures, wanted: &[FeatureId], statuses: bool, requests: Option<HashSet<String>>) -> Self {
        Self { set: Arc::clone(set), columns: column_names(set.features(), wanted), statuses, requests }
    }

    /// `request_id`, `user_id`, `item_id`, `timestamp` (that of the answer), `position` (from 1), `score`, and the features.
    pub fn schema(&self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![
            text("request_id"),
            text("user_id"),
            text("item_id"),
            Field::new("timestamp", utc, false),
            Field::new("position", DataType::Int64, false),
            Field::new("score", DataType::Float64, false),
        ];
        for (id, name) in &self.columns {
            let Some(feature) = self.set.feature(*id) else { continue };
            fields.push(Field::new(name, feature_arrow_type(feature.value_type), true));
            if self.statuses {
                fields.push(text(&format!("{name}__status")));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Replays the log and gives the rows to `write`, in the order of the log.
    ///
    /// # Errors
    /// Those of `write`; a log that cannot be read; [`OfflineError::Interrupted`] if `progress` breaks it off.
    pub fn write<E: From<OfflineError>>(
        &self,
        log: &LogReader,
        mut write: impl FnMut(&RecordBatch) -> Result<(), E>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ServedReport, E> {
        let plan = Arc::new(ReadPlan::new(&self.set, self.columns.iter().map(|(id, _)| *id).collect()));
        let mut report = ServedReport::default();
        let mut rows = self.no_rows();
        let mut missing = self.requests.clone().unwrap_or_default();
        let answered = |replayed: Replayed| {
            missing.remove(&replayed.served.request_id);
            match replayed.columns {
                Err(missed) => *report.missed.entry(missed.reason()).or_default() += 1,
                Ok(columns) => {
                    report.answers += 1;
                    report.rows += replayed.served.items.len() as u64;
                    rows.rows += replayed.served.items.len();
                    for (place, (cells, column)) in rows.cells.iter_mut().zip(columns).enumerate() {
                        let Some(name) = self.embedding(place) else {
                            cells.extend(column.cells);
                            continue;
                        };
                        match logged(&replayed.served, &name) {
                            Some(logged) => cells.extend(logged),
                            None => {
                                *report.not_logged.entry(name).or_default() += column.cells.len() as u64;
                                cells.extend(column.cells);
                            }
                        }
                    }
                    rows.answers.push(replayed.served);
                }
            }
            if rows.rows >= BATCH_ROWS {
                write(&self.batch(&std::mem::replace(&mut rows, self.no_rows()))?)?;
            }
            Ok::<(), E>(())
        };
        let (deleted, mut forgotten) = (deleted_users(log)?, Vec::new());
        let wanted = |position: Position, served: &Served, _: &_| {
            if self.requests.as_ref().is_some_and(|requests| !requests.contains(&served.request_id)) {
                return None;
            }
            if deleted.get(&served.user_id).is_some_and(|deleted| *deleted > position) {
                forgotten.push(served.request_id.clone());
                return None;
            }
            Some(Arc::clone(&plan))
        };
        replay(&self.set, log, wanted, answered, progress)?;
        for request in &forgotten {
            missing.remove(request);
        }
        report.forgotten = forgotten.len() as u64;
        if rows.rows > 0 {
            write(&self.batch(&rows)?)?;
        }
        report.not_found = missing.len() as u64;
        Ok(report)
    }

    /// The name that an embedding is logged under, if the column of this place is one.
    fn embedding(&self, place: usize) -> Option<String> {
        let feature = self.set.feature(self.columns.get(place)?.0)?;
        (feature.source == Source::Embedding).then(|| format!("{}.{}", feature.entity.name(), feature.name))
    }

    fn no_rows(&self) -> Rows {
        Rows { cells: self.columns.iter().map(|_| Vec::new()).collect(), ..Rows::default() }
    }

    fn batch(&self, rows: &Rows) -> Result<RecordBatch, OfflineError> {
        let items = || rows.answers.iter().flat_map(|answer| answer.items.iter().map(move |item| (answer, item)));
        let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let times = items().map(|(answer, _)| answer.timestamp.as_micros());
        let positions = rows.answers.iter().flat_map(|answer| 1..=answer.items.len() as i64);
        let mut arrays: Vec<ArrayRef> = vec![
            texts(items().map(|(answer, _)| answer.request_id.as_str()).collect()),
            texts(items().map(|(answer, _)| answer.user_id.as_str()).collect()),
            texts(items().map(|(_, item)| item.item_id.as_str()).collect()),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
            Arc::new(Int64Array::from_iter_values(positions)),
            Arc::new(Float64Array::from_iter_values(items().map(|(_, item)| f64::from(item.score)))),
        ];
        for ((id, _), cells) in self.columns.iter().zip(&rows.cells) {
            let Some(feature) = self.set.feature(*id) else { continue };
            arrays.push(feature_column(feature.value_type, cells));
            if self.statuses {
                arrays.push(texts(cells.iter().map(|cell| cell.status.name()).collect()));
            }
        }
        Ok(RecordBatch::try_new(self.schema(), arrays)?)
    }
}

/// Where each user was deleted last.
fn deleted_users(log: &LogReader) -> Result<HashMap<String, Position>, OfflineError> {
    let mut deleted = HashMap::new();
    for record in log.read_from(Position(0)).without_events() {
        if let (position, Record::UserDelete { id, .. }) = record? {
            deleted.insert(id, position);
        }
    }
    Ok(deleted)
}

/// What was logged of a feature with an answer: a cell for each item.
fn logged(served: &Served, name: &str) -> Option<Vec<Cell>> {
    let (_, values) = served.features.as_ref()?.values.iter().find(|(logged, _)| logged == name)?;
    let cell = |value: &Option<FeatureValue>| match value {
        Some(value) => Cell::new(Some(value.clone()), None),
        None => Cell::NOT_FOUND,
    };
    (values.len() == served.items.len()).then(|| values.iter().map(cell).collect())
}
