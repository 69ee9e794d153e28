//! Validation: the features that answers were made with, computed again from the log, have to be the same to the last bit.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use tastemaker_log::LogReader;
use tastemaker_types::{FeatureValue, Position, Served, ServedFeatures, Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::replay::{Replayed, replay};
use super::{OfflineError, Progress};
use crate::set::{FeatureId, FeatureSet, SharedFeatures, Source};
use crate::{FeatureColumn, ReadPlan};

/// Other than that of the server's own sampling, so that a sample of its sample is one.
const SEED: u64 = 0x7461_7374;
/// Plans of different lists of features that are kept.
const PLANS: usize = 1_000;

/// Which answers are compared.
#[derive(Debug, Clone, Copy)]
pub struct ValidationOptions {
    /// The share of the answers with logged values, from 0 to 1; always the same ones.
    pub sample: f64,
    /// Only those made at this time or later.
    pub since: Option<Timestamp>,
    /// Only those at this place of the log or after it.
    pub from: Position,
}

/// What came of a validation.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Validation {
    /// Answers in the log that were made with features.
    pub answers: u64,
    /// Those whose values were logged.
    pub with_values: u64,
    /// Those that were compared.
    pub compared: u64,
    /// Values that were compared.
    pub values: u64,
    /// Values that differ.
    pub mismatches: u64,
    /// What was found of each feature, `entity.name`.
    pub features: IndexMap<String, Compared>,
    /// Features that were not compared, or not in all answers: how many values, and why.
    pub skipped: IndexMap<String, Skipped>,
    /// Answers that could not be compared, by the reason.
    pub missed: IndexMap<String, u64>,
    /// One past the last record of the log that was looked at: where the next validation begins that is to see what is new alone.
    #[serde(skip)]
    pub end: Position,
}

/// What was found of one feature.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Compared {
    /// Values that were compared.
    pub compared: u64,
    /// Values that differ in any bit.
    pub mismatches: u64,
    /// Values that were NULL when they were logged.
    pub logged_nulls: u64,
    /// Values that are NULL in the replay.
    pub replayed_nulls: u64,
    /// The largest difference of two numbers.
    pub largest_difference: Option<f64>,
    /// The first value that differs.
    pub first: Option<Mismatch>,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mismatch {
    /// The answer.
    pub request_id: String,
    /// The item in it.
    pub item_id: String,
    /// What the answer was made with.
    pub logged: Option<FeatureValue>,
    /// What the log comes to.
    pub replayed: Option<FeatureValue>,
}

/// Why values were not compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Skipped {
    /// So many.
    pub values: u64,
    /// The reason.
    pub reason: String,
}

/// What is to be compared of an answer: of each logged column, which column of the plan it is.
#[derive(Clone)]
struct Comparison {
    plan: Arc<ReadPlan>,
    columns: Arc<[Result<usize, &'static str>]>,
}

impl Validation {
    /// Compares the answers in the log with a replay of it, in one pass.
    ///
    /// # Errors
    /// A log that cannot be read; [`OfflineError::Interrupted`] if `progress` breaks it off.
    pub fn run(
        set: &SharedFeatures,
        log: &LogReader,
        options: &ValidationOptions,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self, OfflineError> {
        let mut comparisons = Comparisons { set, plans: HashMap::new() };
        let mut validation = Self::default();
        let (mut answers, mut with_values) = (0, 0);
        let wanted = |position: Position, served: &Served, features: &ServedFeatures| {
            if position < options.from || options.since.is_some_and(|since| served.timestamp < since) {
                return None;
            }
            answers += 1;
            with_values += u64::from(!features.values.is_empty());
            let uniform = (xxh3_64_with_seed(served.request_id.as_bytes(), SEED) >> 11) as f64 / (1u64 << 53) as f64;
            if features.values.is_empty() || uniform >= options.sample {
                return None;
            }
            Some(comparisons.of(features).plan)
        };
        let mut reports = Comparisons { set, plans: HashMap::new() };
        let compare = |replayed: Replayed| {
            if let Some(features) = &replayed.served.features {
                let comparison = reports.of(features);
                validation.compare(&comparison, features, &replayed);
            }
            Ok::<(), OfflineError>(())
        };
        let end = replay(set, log, wanted, compare, progress)?;
        (validation.answers, validation.with_values, validation.end) = (answers, with_values, end);
        Ok(validation)
    }

    fn compare(&mut self, comparison: &Comparison, features: &ServedFeatures, replayed: &Replayed) {
        let columns = match &replayed.columns {
            Ok(columns) => columns,
            Err(missed) => {
                *self.missed.entry(missed.reason()).or_default() += 1;
                return;
            }
        };
        self.compared += 1;
        if replayed.served.items.is_empty() {
            return;
        }
        for ((name, logged), column) in features.values.iter().zip(comparison.columns.iter()) {
            let column = column.map(|place| columns.get(place));
            match column {
                Ok(Some(column)) => self.compare_column(name, logged, column, &replayed.served),
                Ok(None) => self.skip(name, logged.len(), "it could not be computed"),
                Err(reason) => self.skip(name, logged.len(), reason),
            }
        }
    }

    fn skip(&mut self, name: &str, values: usize, reason: &str) {
        let skipped = self.skipped.entry(name.to_owned()).or_default();
        skipped.values += values as u64;
        reason.clone_into(&mut skipped.reason);
    }

    fn compare_column(&mut self, name: &str, logged: &[Option<FeatureValue>], column: &FeatureColumn, served: &Served) {
        let report = self.features.entry(name.to_owned()).or_default();
        for (place, item) in served.items.iter().enumerate() {
            let logged = logged.get(place).and_then(Option::as_ref);
            let replayed = column.cells.get(place).and_then(|cell| cell.value.as_ref());
            report.compared += 1;
            self.values += 1;
            report.logged_nulls += u64::from(logged.is_none());
            report.replayed_nulls += u64::from(replayed.is_none());
            let same = match (logged, replayed) {
                (None, None) => true,
                (Some(logged), Some(replayed)) => logged.same_bits(replayed),
                _ => false,
            };
            if same {
                continue;
            }
            report.mismatches += 1;
            self.mismatches += 1;
            if let (Some(FeatureValue::Number(a)), Some(FeatureValue::Number(b))) = (logged, replayed) {
                let difference = (a - b).abs();
                report.largest_difference = Some(report.largest_difference.map_or(difference, |d| d.max(difference)));
            }
            report.first.get_or_insert_with(|| Mismatch {
                request_id: served.request_id.clone(),
                item_id: item.item_id.clone(),
                logged: logged.cloned(),
                replayed: replayed.cloned(),
            });
        }
    }
}

/// Comparisons by the features that were logged.
struct Comparisons<'a> {
    set: &'a SharedFeatures,
    plans: HashMap<Vec<(String, Option<u64>)>, Comparison>,
}

impl Comparisons<'_> {
    fn of(&mut self, features: &ServedFeatures) -> Comparison {
        let fingerprints = features.fingerprints.iter().copied().map(Some).chain(std::iter::repeat(None));
        let key: Vec<_> = features.values.iter().map(|(name, _)| name.clone()).zip(fingerprints).collect();
        if let Some(known) = self.plans.get(&key) {
            return known.clone();
        }
        let mut wanted = Vec::new();
        let column = |(name, fingerprint): &(String, Option<u64>)| {
            let id = comparable(self.set, name, *fingerprint)?;
            wanted.push(id);
            Ok(wanted.len() - 1)
        };
        let columns: Vec<_> = key.iter().map(column).collect();
        let comparison = Comparison { plan: Arc::new(ReadPlan::new(self.set, wanted)), columns: columns.into() };
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        self.plans.insert(key, comparison.clone());
        comparison
    }
}

/// The feature that was logged under this name, if it can be computed again.
fn comparable(set: &FeatureSet, name: &str, fingerprint: Option<u64>) -> Result<FeatureId, &'static str> {
    let id = set.by_reference(name).map_err(|_| "it is declared no more")?;
    let embedded = |id: &FeatureId| set.feature(*id).is_some_and(|feature| feature.source == Source::Embedding);
    if set.closure(&[id]).iter().any(embedded) {
        return Err("it comes from a generation, not from the log");
    }
    if fingerprint.is_some_and(|fingerprint| fingerprint != set.fingerprint(id)) {
        return Err("it was declared otherwise then");
    }
    Ok(id)
}
