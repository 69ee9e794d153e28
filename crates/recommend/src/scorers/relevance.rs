//! The weighted sum of a candidate's signals.

use tastemaker_pipeline::{Scorer, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// `score = w_embedding · relevance + w_item_to_item · similarity + w_popular · popularity + w_fresh · freshness`
pub(crate) struct Relevance;

impl Scorer<Query, Candidates> for Relevance {
    const NAME: &'static str = "relevance";

    fn score(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<f32>, StageError> {
        // Without signals, the order in which sources found the candidates is the best there is.
        let Some(columns) = &batch.signals else {
            return Ok((0..batch.rows.len()).map(|position| 1.0 / (1.0 + position as f32)).collect());
        };
        let weights = query.weights;
        let relevance_and_similarity = columns.relevance.iter().zip(&columns.similarity);
        let popularity_and_freshness = columns.popularity.iter().zip(&columns.freshness);
        Ok(relevance_and_similarity
            .zip(popularity_and_freshness)
            .map(|((relevance, similarity), (popularity, freshness))| {
                weights.relevance * relevance
                    + weights.similarity * similarity
                    + weights.popularity * popularity
                    + weights.freshness * freshness
            })
            .collect())
    }
}
