//! Answers: the recommender with what an answer leaves behind in the metrics and in the log.

use tastemaker_monitor::catalogue as metrics;
use tastemaker_recommend::{RankRequest, RecommendError, RecommendRequest, Recommendation, SimilarRequest};
use tastemaker_types::{Record, Served, ServedItem};

use super::Engine;
use crate::EngineError;

impl Engine {
    /// The best items for a user. An engine that is open for writing leaves the answer in the log, without waiting for it.
    ///
    /// # Errors
    /// The request cannot be answered as it is.
    pub fn recommend(&self, request: &RecommendRequest) -> Result<Recommendation, EngineError> {
        let mut answer = self.measured("recommendations", || self.recommender.recommend(request))?;
        self.note_served(request, &mut answer);
        Ok(answer)
    }

    /// The items most like one item.
    ///
    /// # Errors
    /// The request cannot be answered as it is, or there is no such item.
    pub fn similar(&self, request: &SimilarRequest) -> Result<Recommendation, EngineError> {
        self.measured("similar", || self.recommender.similar(request))
    }

    /// The given items in the order that is best for the user.
    ///
    /// # Errors
    /// The request cannot be answered as it is.
    pub fn rank(&self, request: &RankRequest) -> Result<Recommendation, EngineError> {
        self.measured("rank", || self.recommender.rank(request))
    }

    fn measured(
        &self,
        endpoint: &'static str,
        work: impl FnOnce() -> Result<Recommendation, RecommendError>,
    ) -> Result<Recommendation, EngineError> {
        let answer = self.monitor.within(work)?;
        self.monitor.count(&metrics::ANSWERS, [endpoint], 1);
        if answer.items.is_empty() {
            self.monitor.count(&metrics::EMPTY, [endpoint], 1);
        }
        for reason in &answer.degraded {
            self.monitor.count(&metrics::DEGRADED, [reason], 1);
        }
        Ok(answer)
    }

    fn note_served(&self, request: &RecommendRequest, answer: &mut Recommendation) {
        if let Some(log) = self.log.read().as_ref() {
            let items = answer.items.iter();
            let served = Served {
                request_id: answer.request_id.clone(),
                user_id: request.user_id.clone(),
                // The features are those of just this moment.
                timestamp: answer.at,
                generation: answer.generation,
                items: items.map(|i| ServedItem { item_id: i.item_id.clone(), score: i.score }).collect(),
                degraded: answer.degraded.clone(),
                features: answer.features.take(),
            };
            // A full queue drops it and counts that.
            log.append_unsynced(vec![Record::Served(served)]);
        }
    }
}
