//! What an import did, to show and to keep.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Refusal;

/// Refused rows that a report quotes; all are counted.
pub const MAX_QUOTED_REFUSALS: usize = 100;

/// The longest reason that is kept: it may quote the row.
const MAX_REASON_CHARS: usize = 300;

/// What an import read, took and refused.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Rows read, the header and empty lines apart.
    pub rows: u64,
    /// Rows that became records.
    pub accepted: u64,
    /// Rows that did not.
    pub refused: u64,
    /// Refused rows by column and kind of mistake, such as `timestamp: not a time`.
    pub refused_by: BTreeMap<String, u64>,
    /// The first [`MAX_QUOTED_REFUSALS`] of them.
    pub refusals: Vec<Refusal>,
    /// What the importer assumed or left out: ignored columns, an event type that no column gives.
    pub notices: Vec<String>,
    /// Bytes of the file read.
    pub bytes: u64,
    /// Time since the file was opened.
    pub seconds: f64,
}

impl Report {
    pub(crate) fn refuse(&mut self, mut refusal: Refusal) {
        self.rows += 1;
        self.refused += 1;
        let kind = match &refusal.column {
            Some(column) => format!("{column}: {}", refusal.kind),
            None => refusal.kind.to_owned(),
        };
        *self.refused_by.entry(kind).or_default() += 1;
        if self.refusals.len() < MAX_QUOTED_REFUSALS {
            if let Some((end, _)) = refusal.reason.char_indices().nth(MAX_REASON_CHARS) {
                refusal.reason.truncate(end);
                refusal.reason.push('…');
            }
            self.refusals.push(refusal);
        }
    }

    pub(crate) fn accept(&mut self) {
        self.rows += 1;
        self.accepted += 1;
    }

    pub(crate) fn took(&mut self, time: Duration, bytes: u64) {
        (self.seconds, self.bytes) = (time.as_secs_f64(), bytes);
    }

    /// Rows read in a second.
    pub fn rows_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.rows as f64 / self.seconds } else { 0.0 }
    }
}
