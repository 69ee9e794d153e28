//! Pushing rows of feature views.

use tastemaker_api::feast::Columns;
use tastemaker_monitor::catalogue as metrics;
use tastemaker_types::Timestamp;

use super::features::wrong;
use super::{Engine, PendingWrite};
use crate::{EngineError, feature_rows};

impl Engine {
    /// Writes rows of a batch feature view, given as columns: all, or none if any is wrong. Says how many, once they are on
    /// disk and can be read. A column of a join key (`user_id`, `item_id`) is needed; without `event_timestamp` rows hold
    /// since now.
    ///
    /// # Errors
    /// [`EngineError::FeatureRequest`] if there is no such view; [`EngineError::FeatureRows`] names each wrong value.
    pub async fn push_features(&self, view: &str, columns: &Columns) -> Result<usize, EngineError> {
        let (rows, pending) = self.begin_push(view, columns)?;
        pending.wait(&self.monitor).await?;
        Ok(rows)
    }

    /// Checks and queues rows.
    pub(crate) fn begin_push(&self, view: &str, columns: &Columns) -> Result<(usize, PendingWrite), EngineError> {
        let set = self.state.features();
        let number = set.view(view).map_err(|message| wrong("view", message))?;
        let (Some(known), Some(declared)) =
            (set.views().get(number), self.config.feature_views.iter().find(|known| known.name == view))
        else {
            return Err(wrong("view", format!("there is no feature view '{view}'")));
        };
        let most = self.config.server.batch_limit;
        let records = feature_rows::judge(known, declared, columns, most, Timestamp::now()).map_err(|refused| {
            self.monitor.count(&metrics::INGESTED, ["feature_row", "refused"], refused.rows as u64);
            EngineError::FeatureRows(refused)
        })?;
        let rows = records.len();
        let pending = self.begin_write(records)?;
        self.monitor.count(&metrics::INGESTED, ["feature_row", "accepted"], rows as u64);
        Ok((rows, pending))
    }
}
