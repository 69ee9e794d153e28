//! Answers: the recommender with what an answer leaves behind in the metrics and in the log. Where the project serves from Redis, answers come
//! from there; where Redis does not help, from what is in this process, and say so.

use tastemaker_monitor::catalogue as metrics;
use tastemaker_recommend::{
    RankRequest, RecommendError, RecommendRequest, Recommendation, Recommender, SimilarRequest,
};
use tastemaker_remote::{Remote, RemoteError, degraded_by};
use tastemaker_types::{Record, Served, ServedItem};

use super::Engine;
use crate::EngineError;

impl Engine {
    /// The best items for a user. An engine that is open for writing leaves the answer in the log, without waiting for it.
    ///
    /// # Errors
    /// The request cannot be answered as it is.
    pub async fn recommend(&self, request: &RecommendRequest) -> Result<Recommendation, EngineError> {
        let remote = self.online.as_ref().map(|online| online.remote().recommend(request));
        let here = |recommender: &Recommender| recommender.recommend(request);
        let mut answer =
            self.answer("recommendations", remote, here, |remote| remote.recommend_without(request)).await?;
        self.note_served(request, &mut answer);
        Ok(answer)
    }

    /// As [`recommend`](Self::recommend), from this process's memory whatever the project serves from.
    ///
    /// # Errors
    /// As there.
    pub fn recommend_here(&self, request: &RecommendRequest) -> Result<Recommendation, EngineError> {
        let mut answer = self.monitor.within(|| self.recommender.recommend(request))?;
        self.count("recommendations", &answer);
        self.note_served(request, &mut answer);
        Ok(answer)
    }

    /// The items most like one item.
    ///
    /// # Errors
    /// The request cannot be answered as it is, or there is no such item.
    pub async fn similar(&self, request: &SimilarRequest) -> Result<Recommendation, EngineError> {
        let remote = self.online.as_ref().map(|online| online.remote().similar(request));
        let here = |recommender: &Recommender| recommender.similar(request);
        self.answer("similar", remote, here, |remote| remote.similar_without(request)).await
    }

    /// The given items in the order that is best for the user.
    ///
    /// # Errors
    /// The request cannot be answered as it is.
    pub async fn rank(&self, request: &RankRequest) -> Result<Recommendation, EngineError> {
        let remote = self.online.as_ref().map(|online| online.remote().rank(request));
        let here = |recommender: &Recommender| recommender.rank(request);
        self.answer("rank", remote, here, |remote| remote.rank_without(request)).await
    }

    /// The answer of Redis, where the project serves from there and Redis gives one; else one from what is in this process.
    async fn answer(
        &self,
        endpoint: &'static str,
        remote: Option<impl Future<Output = Result<Recommendation, RemoteError>>>,
        whole: impl FnOnce(&Recommender) -> Result<Recommendation, RecommendError>,
        known: impl FnOnce(&Remote) -> Result<Recommendation, RemoteError>,
    ) -> Result<Recommendation, EngineError> {
        let answer = match remote {
            None => self.monitor.within(|| whole(&self.recommender))?,
            Some(remote) => match remote.await {
                Ok(answer) => answer,
                Err(error) => self.here(error, whole, known)?,
            },
        };
        self.count(endpoint, &answer);
        Ok(answer)
    }

    /// An answer without Redis: of everything, where the log is here; else of the items that were read before.
    fn here(
        &self,
        error: RemoteError,
        whole: impl FnOnce(&Recommender) -> Result<Recommendation, RecommendError>,
        known: impl FnOnce(&Remote) -> Result<Recommendation, RemoteError>,
    ) -> Result<Recommendation, EngineError> {
        let (Some(lacks), Some(online)) = (degraded_by(&error), &self.online) else { return Err(error.into()) };
        tracing::debug!(%error, "an answer was made without Redis");
        let mut answer = if online.follower().is_some() {
            self.monitor.within(|| whole(&self.recommender))?
        } else {
            known(online.remote())?
        };
        answer.degraded.push(lacks);
        Ok(answer)
    }

    fn count(&self, endpoint: &'static str, answer: &Recommendation) {
        self.monitor.count(&metrics::ANSWERS, [endpoint], 1);
        if answer.items.is_empty() {
            self.monitor.count(&metrics::EMPTY, [endpoint], 1);
        }
        for reason in &answer.degraded {
            self.monitor.count(&metrics::DEGRADED, [reason], 1);
        }
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
