//! What is known of each candidate and user together: relevance, similarity, popularity, freshness.

use tastemaker_pipeline::{Hydrator, OnFailure, Patch, Presence, StageContext, StageError};

use crate::candidates::{Candidates, Signals};
use crate::numeric::dot;
use crate::query::Query;

/// Newer candidates that halve the freshness of one.
const CROWD: f64 = 10.0;

/// Computes all signals for all candidates, whichever source found them, so that scores compare.
pub(crate) struct Similarities;

impl Hydrator<Query, Candidates> for Similarities {
    const NAME: &'static str = "signals";
    /// Without signals candidates come in the order of their sources.
    const ON_FAILURE: OnFailure = OnFailure::Open;
    type Columns = Signals;

    fn hydrate(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Patch<Signals>, StageError> {
        // Where it cannot be made, the source that needs it most has failed and said so.
        let user = query.user_vector().ok().flatten();
        let taste = query.taste();
        let generation = query.generation.as_deref();
        let mut presence = Vec::with_capacity(batch.rows.len());
        let mut signals = Signals::default();
        for &row in &batch.rows {
            let vector = generation.and_then(|generation| generation.vector(row));
            let (relevance, similarity) = match vector {
                None => (0.0, 0.0),
                Some((vector, norm)) => {
                    let relevance = user.map_or(0.0, |(_, user)| dot(user, vector));
                    let similarity = taste.filter(|_| norm > 0.0).map_or(0.0, |(_, taste)| dot(taste, vector) / norm);
                    (relevance, similarity.clamp(0.0, 1.0))
                }
            };
            presence.push(if vector.is_some() { Presence::Found } else { Presence::Missing });
            signals.relevance.push(relevance);
            signals.similarity.push(similarity);
            signals.popularity.push(query.rankings.popularity(row));
        }
        signals.freshness = freshness(query, &batch.rows);
        let largest = signals.relevance.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        if largest > 0.0 {
            signals.relevance.iter_mut().for_each(|value| *value /= largest);
        }
        Ok(Patch { columns: signals, presence })
    }

    fn apply(&self, batch: &mut Candidates, patch: Patch<Signals>) {
        batch.signals = Some(patch.columns);
    }
}

/// How much of the fresh window is left to each item, less the more candidates are newer: with ten newer ones, half of it. Without that, many new
/// items at once would crowd out everything else for users of whom nothing is known.
fn freshness(query: &Query, rows: &[u32]) -> Vec<f32> {
    let window = query.fresh_window.as_micros();
    let mut fresh: Vec<(i64, u32, usize)> = Vec::new();
    for (position, row) in rows.iter().enumerate() {
        let first_seen = query.catalog.first_seen(*row).map_or(i64::MIN, |first_seen| first_seen.as_micros());
        let age = query.now.as_micros().saturating_sub(first_seen).max(0);
        if age < window {
            fresh.push((age, *row, position));
        }
    }
    fresh.sort_unstable();
    let mut freshness = vec![0.0; rows.len()];
    for (newer, (age, _, position)) in fresh.into_iter().enumerate() {
        let left = 1.0 - age as f64 / window as f64;
        if let Some(value) = freshness.get_mut(position) {
            *value = (left * CROWD / (CROWD + newer as f64)) as f32;
        }
    }
    freshness
}
