//! Whether an index finds what an exact search finds.

use redis::{Pipeline, Value};
use tastemaker_config::RedisIndexKind;

use super::Publisher;
use crate::RedisError;
use crate::client::Operation;
use crate::layout::embedding_field;
use crate::search::{Filter, Knn, Query, Returned};

const VERIFY: Operation = Operation::repeatable("verify").bulk();

/// Neighbours that are compared for each query.
const NEIGHBOURS: usize = 50;
/// Neighbours that are kept: some may turn out not to be in Redis.
const KEPT: usize = 2 * NEIGHBOURS;
/// The broadest search that is tried, by the breadth that is configured.
const BROADEST: usize = 16;
/// The most queries; more are left out.
const MAX_QUERIES: usize = 64;

/// The exact neighbours of a few queries, found by looking at every item as it goes by.
#[derive(Debug, Clone, Default)]
pub struct Exact {
    queries: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    query: Vec<f32>,
    /// The best first; ties by id.
    best: Vec<(f32, String)>,
}

impl Exact {
    /// Of these queries, such as the vectors of some users.
    pub fn of(queries: impl IntoIterator<Item = Vec<f32>>) -> Self {
        let queries = queries.into_iter().filter(|query| query.iter().any(|x| *x != 0.0)).take(MAX_QUERIES);
        Self { queries: queries.map(|query| Sample { query, best: Vec::with_capacity(KEPT + 1) }).collect() }
    }

    pub(super) fn see(&mut self, id: &str, factor: &[f32]) {
        for sample in &mut self.queries {
            let score: f32 = sample.query.iter().zip(factor).map(|(a, b)| a * b).sum();
            if sample.best.len() == KEPT && sample.best.last().is_some_and(|(worst, _)| score <= *worst) {
                continue;
            }
            let place =
                sample.best.partition_point(|(known, name)| *known > score || (*known == score && **name < *id));
            sample.best.insert(place, (score, id.to_owned()));
            sample.best.truncate(KEPT);
        }
    }
}

/// How well an index does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verified {
    /// Hashes in the index.
    pub documents: u64,
    /// The share of the exact neighbours that it finds; 1 without queries.
    pub recall: f64,
    /// The breadth of the search that finds them: `redis.index.ef_runtime`, or more where that was not enough.
    pub ef_runtime: usize,
}

impl Publisher {
    /// Counts what is in the index, which must be at least `items`, and compares its neighbours with the exact ones. What an index of many items finds
    /// with the breadth that is configured may be too little: the breadth is doubled until it is enough.
    ///
    /// # Errors
    /// [`RedisError::Verification`] if there are fewer, or if the recall is below `least_recall`.
    pub async fn verify(&self, items: u64, exact: &Exact, least_recall: f64) -> Result<Verified, RedisError> {
        let index = self.client.layout().index(&self.publication.generation);
        let documents = self.client.index_info(&index).await?.documents;
        if documents < items {
            let message = format!("the index has {documents} items of {items}; publish again");
            return Err(RedisError::Verification(message));
        }
        let index_config = &self.client.config().index;
        let least = index_config.ef_runtime;
        let broadest = if index_config.kind == RedisIndexKind::Hnsw { least.saturating_mul(BROADEST) } else { least };
        let mut ef_runtime = least;
        loop {
            let recall = self.recall(&index, exact, ef_runtime).await?;
            if recall >= least_recall {
                return Ok(Verified { documents, recall, ef_runtime });
            }
            if ef_runtime >= broadest {
                let message = format!(
                    "the index finds {:.1} % of the exact neighbours with ef_runtime = {ef_runtime}, less than {:.1} %; raise redis.index.m or ef_construction",
                    100.0 * recall,
                    100.0 * least_recall
                );
                return Err(RedisError::Verification(message));
            }
            ef_runtime *= 2;
        }
    }

    async fn recall(&self, index: &str, exact: &Exact, ef_runtime: usize) -> Result<f64, RedisError> {
        let graph = self.client.config().index.kind == RedisIndexKind::Hnsw;
        let (mut found, mut expected) = (0, 0);
        for sample in &exact.queries {
            let there = self.there(&sample.best).await?;
            let there = &there[..there.len().min(NEIGHBOURS)];
            let Some(worst) = there.last().map(|(score, _)| *score) else { continue };
            let vector = self.format().query(&sample.query);
            let knn = Knn { k: NEIGHBOURS, vector, policy: None, ef_runtime: graph.then_some(ef_runtime) };
            let query = Query::nearest(index, Filter::all(), knn, Returned::Ids);
            let rows = self.client.search(VERIFY, &query).await?.rows;
            // An item that scores as the last one does is as good, whichever of them the index gives.
            let good = rows.iter().filter(|row| {
                let known = sample.best.iter().find(|(_, id)| *id == row.id);
                known.is_some_and(|(score, _)| *score >= worst)
            });
            found += good.count().min(there.len());
            expected += there.len();
        }
        Ok(if expected == 0 { 1.0 } else { found as f64 / expected as f64 })
    }

    /// Those that have a vector in Redis.
    async fn there(&self, best: &[(f32, String)]) -> Result<Vec<(f32, String)>, RedisError> {
        let field = embedding_field(&self.publication.generation);
        let mut pipeline = Pipeline::with_capacity(best.len());
        for (_, id) in best {
            pipeline.cmd("HEXISTS").arg(self.client.layout().item(id)).arg(&field);
        }
        let answers = self.client.pipeline(VERIFY, &pipeline).await?;
        let mut there = Vec::with_capacity(best.len());
        for (one, answer) in best.iter().zip(answers) {
            if matches!(answer?, Value::Int(1) | Value::Boolean(true)) {
                there.push(one.clone());
            }
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_with_ties_by_id() {
        let mut exact = Exact::of([vec![1.0, 0.0], vec![0.0, 0.0]]);
        assert_eq!(exact.queries.len(), 1, "a query of zeros has no neighbours");
        for (id, score) in [("b", 2.0), ("a", 2.0), ("c", 3.0)] {
            exact.see(id, &[score, 9.0]);
        }
        (0..2 * KEPT).for_each(|n| exact.see(&format!("low{n}"), &[-1.0, 0.0]));
        let best = &exact.queries[0].best;
        assert_eq!(best.iter().take(3).map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
        assert_eq!(best.len(), KEPT);
    }
}
