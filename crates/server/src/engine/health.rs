//! What the engine says about itself: the readiness answer, and the gauges that are read when someone looks.

use tastemaker_api::{GenerationHealth, LogHealth, Ready};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_types::Timestamp;

use super::Engine;

impl Engine {
    /// Whether requests can be answered.
    pub(crate) fn has_begun(&self) -> bool {
        self.online.as_ref().is_none_or(|online| online.has_begun())
    }

    /// The readiness answer under the status `word`.
    pub(crate) fn health(&self, word: &str) -> Ready {
        Ready {
            status: word.to_owned(),
            generation: self.generation_health(),
            refused_generation: self.refused(),
            online: self.online.as_ref().map(|online| online.health()),
            log: self.log_health(),
            items: self.catalog.snapshot().alive_rows().count(),
            users: self.state.user_count(),
        }
    }

    /// The metrics text, with gauges taken now.
    pub(crate) fn render_metrics(&self) -> String {
        let log = self.log_health();
        let set = |gauge, value: f64| self.monitor.set(gauge, [], value);
        set(&metrics::LOG_APPENDED, log.appended as f64);
        set(&metrics::LOG_APPLIED, log.applied as f64);
        set(&metrics::LOG_LAG, log.appended.saturating_sub(log.applied) as f64);
        let generation = self.generation_health();
        set(&metrics::GENERATION_VERSION, generation.as_ref().map_or(0.0, |g| g.version as f64));
        set(&metrics::GENERATION_AGE_SECONDS, generation.as_ref().map_or(0.0, |g| g.age_seconds));
        set(&metrics::ITEMS, self.catalog.snapshot().alive_rows().count() as f64);
        set(&metrics::USERS, self.state.user_count() as f64);
        self.monitor.count_to(&metrics::FEATURE_REFUSED_INPUTS, [], self.state.refused_inputs());
        for (number, view) in self.state.features().views().iter().enumerate() {
            // A view without rows has no age: no series is better than a made-up number.
            let now = Timestamp::now();
            if let Some(newest) = self.state.newest_row(number, now) {
                let age = now.as_seconds() - newest.as_seconds();
                self.monitor.set(&metrics::FEATURE_VIEW_AGE_SECONDS, [&view.name], age);
            }
        }
        if let Some(online) = &self.online {
            online.render(log.appended);
        }
        if let Some(log) = self.log.read().as_ref() {
            let stats = log.stats();
            set(&metrics::LOG_WAITING_BYTES, stats.waiting_bytes as f64);
            self.monitor.count_to(&metrics::SERVED_DROPPED, [], stats.dropped_unsynced);
        }
        self.measure_items_source();
        self.monitor.render()
    }

    fn generation_health(&self) -> Option<GenerationHealth> {
        let (version, created_at) = match self.online.as_ref().filter(|_| self.is_stateless()) {
            Some(online) => online.remote().standing().serving?,
            None => {
                let generation = self.recommender.generation()?;
                (generation.version(), generation.manifest().created_at)
            }
        };
        let age = Timestamp::now().as_seconds() - created_at.as_seconds();
        Some(GenerationHealth { version, age_seconds: age.max(0.0) })
    }

    fn log_health(&self) -> LogHealth {
        // Applied first: it can only have grown when the other is read.
        let applied = self.state.position().map_or(0, |position| position.0 + 1);
        let appended = self.log.read().as_ref().map_or(applied, |log| log.end().0);
        LogHealth { appended, applied }
    }
}
