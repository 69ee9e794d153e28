//! The project's boost expression.

use tastemaker_pipeline::{Scorer, StageContext, StageError};

use crate::candidates::Candidates;
use crate::query::Query;

/// The least a negative score is divided by.
const LEAST: f32 = 1e-6;

/// Multiplies the score by `recommend.boost`. NULL is 1, as is everything if features could not be read, and a negative boost is 0. A negative
/// score is divided instead, so that a larger boost is better for every score.
pub(crate) struct Boost;

impl Scorer<Query, Candidates> for Boost {
    const NAME: &'static str = "boost";

    fn score(&self, query: &Query, batch: &Candidates, _: &StageContext) -> Result<Vec<f32>, StageError> {
        let (Some(boost), Some(attributes)) = (&query.boost, &batch.attributes) else {
            return Ok(batch.scores.clone());
        };
        let Some(factors) = boost.numbers(query, batch, attributes, 1.0)? else { return Ok(batch.scores.clone()) };
        Ok(batch.scores.iter().zip(factors).map(|(score, factor)| boosted(*score, factor as f32)).collect())
    }
}

fn boosted(score: f32, boost: f32) -> f32 {
    if score < 0.0 { score / boost.max(LEAST) } else { score * boost.max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::boosted;

    #[test]
    fn a_larger_boost_is_better_for_every_score() {
        for score in [-2.0f32, -0.1, 0.0, 0.3, 4.0] {
            let boosts = [-1.0f32, 0.0, 0.5, 1.0, 2.0];
            assert!(boosts.windows(2).all(|pair| boosted(score, pair[0]) <= boosted(score, pair[1])), "{score}");
            assert_eq!(boosted(score, 1.0), score);
        }
    }
}
