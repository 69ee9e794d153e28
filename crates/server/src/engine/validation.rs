//! Validation beside serving: logged values of features are computed again from the log, and what differs is counted.

use std::ops::ControlFlow;
use std::time::Instant;

use tastemaker_features::offline::{OfflineError, Validation, ValidationOptions};
use tastemaker_monitor::catalogue as metrics;

use super::Engine;

impl Engine {
    /// Validates the answers that have come to the log since it was done last, or since the engine was opened: each once. It works half of
    /// the time, so that requests find a free core, and ends when the engine is closed.
    pub(crate) fn validate_features(&self) {
        let mut validated = self.validated.lock();
        let Some(reader) = self.log.read().as_ref().map(|log| log.reader()) else { return };
        let options = ValidationOptions { sample: 1.0, since: None, from: *validated };
        let mut worked = Instant::now();
        let progress = |_| {
            std::thread::sleep(worked.elapsed());
            worked = Instant::now();
            if self.log.read().is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match Validation::run(self.state.features(), &reader, &options, progress) {
            Ok(validation) => {
                *validated = validation.end;
                self.count_validation(&validation);
            }
            Err(OfflineError::Interrupted) => {}
            Err(error) => tracing::error!("served features could not be validated: {error}"),
        }
    }

    fn count_validation(&self, validation: &Validation) {
        self.monitor.count(&metrics::FEATURE_VALIDATION_VALUES, [], validation.values);
        for (name, feature) in &validation.features {
            // So that an increase is seen from the first mismatch on.
            self.monitor.count_to(&metrics::FEATURE_VALIDATION_MISMATCHES, [name], 0);
            self.monitor.count(&metrics::FEATURE_VALIDATION_MISMATCHES, [name], feature.mismatches);
        }
        if validation.mismatches > 0 {
            let (differ, values) = (validation.mismatches, validation.values);
            tracing::error!(
                differ,
                values,
                "served features are not what the log says; run `tastemaker features validate`"
            );
        }
    }
}
