//! The candidates of one request, in columns: catalog rows, scores, which sources found them, and what hydrators attach. Ids come back only for
//! the few that are served.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow_array::RecordBatch;
use tastemaker_pipeline::{Batch, Verdict};

use crate::explain::Retrieval;
use crate::features::{Features, Reads};
use crate::sources;

/// Dropped candidates that an explanation remembers.
const DROPPED_KEPT: usize = 1_000;

/// What is known of each candidate beside its attributes. All between 0 and 1 but relevance, which may be negative.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Signals {
    /// The inner product of user and item, over the largest in the batch.
    pub(crate) relevance: Vec<f32>,
    /// The cosine to what the user liked last, negative ones as 0.
    pub(crate) similarity: Vec<f32>,
    /// [`Rankings::popularity`](tastemaker_features::Rankings::popularity).
    pub(crate) popularity: Vec<f32>,
    /// How much of `fresh_window` is left, less the more candidates are newer.
    pub(crate) freshness: Vec<f32>,
}

/// A candidate that a filter dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DroppedRow {
    pub(crate) row: u32,
    pub(crate) stage: &'static str,
    pub(crate) reason: &'static str,
}

/// The batch that passes through the stages.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) rows: Vec<u32>,
    pub(crate) scores: Vec<f32>,
    /// One bit per source, by its place in [`sources::NAMES`].
    pub(crate) found_by: Vec<u8>,
    pub(crate) signals: Option<Signals>,
    /// The attributes that later stages need, as hydrated. Any later change of the rows drops them.
    pub(crate) attributes: Option<RecordBatch>,
    /// What was read for features; any later change of the rows drops it.
    pub(crate) reads: Reads,
    /// The features that the request needs, if they could be read.
    pub(crate) features: Option<Features>,
    /// How the vector index was searched.
    pub(crate) retrieval: Option<Retrieval>,
    /// What an explanation wants besides; `None` where there is none.
    pub(crate) story: Option<Story>,
    places: HashMap<u32, u32>,
}

/// What happened to candidates on the way.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The scores after each scorer, by row.
    pub(crate) scored: Vec<(&'static str, HashMap<u32, f32>)>,
    pub(crate) dropped: Vec<DroppedRow>,
}

impl Candidates {
    /// An empty batch; `explain` makes it remember what happens.
    pub(crate) fn new(explain: bool) -> Self {
        Self { story: explain.then(Story::default), ..Self::default() }
    }

    /// What a source returns: distinct rows, all with score 0.
    pub(crate) fn found(rows: Vec<u32>) -> Self {
        Self { scores: vec![0.0; rows.len()], found_by: vec![0; rows.len()], rows, ..Self::default() }
    }

    /// Whether the row is among them.
    pub(crate) fn contains(&self, row: u32) -> bool {
        self.places.contains_key(&row)
    }

    /// Adds a row with score 0, or these bits to the row that is there.
    pub(crate) fn add(&mut self, row: u32, found_by: u8) {
        match self.places.entry(row) {
            Entry::Occupied(place) => {
                if let Some(bits) = self.found_by.get_mut(*place.get() as usize) {
                    *bits |= found_by;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.rows.len() as u32);
                self.rows.push(row);
                self.scores.push(0.0);
                self.found_by.push(found_by);
                self.signals = None;
                self.attributes = None;
                self.reads = Reads::default();
                self.features = None;
            }
        }
    }

    fn reindex(&mut self) {
        self.places.clear();
        self.places.extend(self.rows.iter().zip(0..).map(|(row, place)| (*row, place)));
    }
}

/// The values at these positions.
pub(crate) fn pick<T: Copy + Default>(values: &[T], positions: &[u32]) -> Vec<T> {
    positions.iter().map(|position| values.get(*position as usize).copied().unwrap_or_default()).collect()
}

impl Batch for Candidates {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn scores(&self) -> &[f32] {
        &self.scores
    }

    fn append(&mut self, source: &'static str, found: Self) {
        let bit = sources::bit(source);
        for row in found.rows {
            self.add(row, bit);
        }
        self.retrieval = self.retrieval.take().or(found.retrieval);
    }

    fn set_scores(&mut self, scorer: &'static str, scores: Vec<f32>) {
        self.scores = scores;
        if let Some(story) = &mut self.story {
            story.scored.push((scorer, self.rows.iter().copied().zip(self.scores.iter().copied()).collect()));
        }
    }

    fn retain(&mut self, verdicts: &[(&'static str, Verdict)]) {
        let mut kept = Vec::with_capacity(self.rows.len());
        for ((position, row), (stage, verdict)) in (0..).zip(&self.rows).zip(verdicts) {
            match (verdict, &mut self.story) {
                (Verdict::Keep, _) => kept.push(position),
                (Verdict::Drop(reason), Some(story)) if story.dropped.len() < DROPPED_KEPT => {
                    story.dropped.push(DroppedRow { row: *row, stage, reason });
                }
                (Verdict::Drop(_), _) => {}
            }
        }
        self.select("", &kept);
    }

    fn select(&mut self, _: &'static str, positions: &[u32]) {
        self.rows = pick(&self.rows, positions);
        self.scores = pick(&self.scores, positions);
        self.found_by = pick(&self.found_by, positions);
        self.signals = self.signals.take().map(|signals| Signals {
            relevance: pick(&signals.relevance, positions),
            similarity: pick(&signals.similarity, positions),
            popularity: pick(&signals.popularity, positions),
            freshness: pick(&signals.freshness, positions),
        });
        self.attributes = None;
        self.reads = Reads::default();
        self.features.iter_mut().for_each(|features| features.select(positions));
        self.reindex();
    }

    fn clear(&mut self, stage: &'static str) {
        let reason = "the stage failed, and nothing unchecked is served";
        let verdict = (stage, Verdict::Drop(reason));
        self.retain(&vec![verdict; self.rows.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_found_twice_is_there_once_with_both_sources() {
        let mut batch = Candidates::new(false);
        batch.append("popular", Candidates::found(vec![3, 5]));
        batch.append("embedding", Candidates::found(vec![5, 7]));
        assert_eq!(batch.rows, [3, 5, 7]);
        let names: Vec<Vec<&str>> = batch.found_by.iter().map(|bits| sources::names(*bits).collect()).collect();
        assert_eq!(names, [vec!["popular"], vec!["embedding", "popular"], vec!["embedding"]]);
        assert!(batch.contains(7) && !batch.contains(4));
    }

    #[test]
    fn every_column_follows_a_selection() {
        let mut batch = Candidates::new(true);
        batch.append("given", Candidates::found(vec![10, 20, 30]));
        batch.set_scores("relevance", vec![0.1, 0.2, 0.3]);
        let column = vec![1.0, 2.0, 3.0];
        batch.signals = Some(Signals { relevance: column.clone(), ..Signals::default() });
        batch.select("diversity", &[2, 0]);
        assert_eq!((batch.rows.as_slice(), batch.scores.as_slice()), ([30, 10].as_slice(), [0.3, 0.1].as_slice()));
        assert_eq!(batch.signals.as_ref().unwrap().relevance, [3.0, 1.0]);
        assert!(!batch.contains(20) && batch.contains(10));

        batch.retain(&[("seen", Verdict::Drop("met before")), ("", Verdict::Keep)]);
        assert_eq!(batch.rows, [10]);
        let story = batch.story.as_ref().unwrap();
        assert_eq!(story.dropped, [DroppedRow { row: 30, stage: "seen", reason: "met before" }]);
        assert_eq!(story.scored[0].1[&20], 0.2);

        batch.clear("eligibility");
        assert!(batch.is_empty());
        assert_eq!(batch.story.as_ref().unwrap().dropped.len(), 2);
    }
}
