//! Which generation serves: noticing a promotion, checking, installing, going back. A generation is loaded and checked
//! whole before it replaces the present one in one step; requests under way keep the one they began with.

use std::sync::Arc;

use tastemaker_api::{GenerationInfo, Model, RefusedGeneration};
use tastemaker_artifacts::{Stamp, Version};
use tastemaker_monitor::catalogue as metrics;
use tastemaker_recommend::ServingGeneration;

use super::Engine;
use crate::EngineError;

/// A champion that was refused.
pub(super) struct Refusal {
    /// What health says about it.
    told: RefusedGeneration,
    /// What it looked like then.
    seen: Option<(Version, Stamp)>,
}

/// The name of the one model that a project has.
pub(crate) const MODEL: &str = "embeddings";

impl Engine {
    /// Installs the champion if it is not the one that serves; says whether it did. A champion that does not pass its checks
    /// is refused: the present generation keeps serving, and health and metrics say so. It is checked again once somebody
    /// has touched its files or promoted it again.
    pub fn reload_if_promoted(&self) -> bool {
        let _switching = self.switching.lock();
        let champion = match self.generations.champion() {
            Ok(Some(version)) => version,
            Ok(None) => {
                *self.refused.lock() = None;
                return false;
            }
            Err(error) => {
                self.refuse(None, &error);
                return false;
            }
        };
        if self.serving() == Some(champion) {
            *self.refused.lock() = None;
            return false;
        }
        // Taken before the files are read: what is written meanwhile is looked at next time.
        let seen = (champion, self.generations.stamp(champion));
        if self.refused.lock().as_ref().is_some_and(|refused| refused.seen.as_ref() == Some(&seen)) {
            return false;
        }
        match self.load(champion) {
            Ok(generation) => {
                self.install(generation);
                true
            }
            Err(error) => {
                self.refuse(Some(seen), &error);
                self.serving().is_none() && self.fall_back()
            }
        }
    }

    /// Installs the generation that was champion before, where none serves: an old model is better than none. The refused champion stays
    /// the champion, and is told of.
    fn fall_back(&self) -> bool {
        let Ok(Some(before)) = self.generations.rollback_target() else { return false };
        match self.load(before) {
            Ok(generation) => {
                tracing::warn!(version = before.0, "the champion before the refused one serves");
                self.recommender.install(generation);
                self.monitor.count(&metrics::GENERATION_LOADS, ["installed"], 1);
                true
            }
            Err(error) => {
                tracing::error!("{error}; no generation serves");
                false
            }
        }
    }

    /// Makes `version` the champion and serves it, after checking it whole.
    ///
    /// # Errors
    /// It does not exist or did not pass; the champion stays what it was.
    pub fn promote(&self, version: Version) -> Result<Model, EngineError> {
        {
            let _switching = self.switching.lock();
            let generation = self.load(version)?;
            self.generations.promote(version)?;
            self.install(generation);
        }
        self.model()
    }

    /// Makes the champion before the present one the champion again and serves it.
    ///
    /// # Errors
    /// There was none, or it did not pass; the champion stays what it was.
    pub fn rollback(&self) -> Result<Model, EngineError> {
        {
            let _switching = self.switching.lock();
            let target = self.generations.rollback_target()?;
            let generation = target.map(|version| self.load(version)).transpose()?;
            let version = self.generations.rollback()?;
            match generation {
                Some(generation) if target == Some(version) => self.install(generation),
                // Someone else switched in between.
                _ => self.install(self.load(version)?),
            }
        }
        self.model()
    }

    /// The generation that serves.
    pub fn serving(&self) -> Option<Version> {
        self.recommender.generation().map(|generation| Version(generation.version()))
    }

    /// The project's model with all its generations.
    ///
    /// # Errors
    /// The folder of generations cannot be read.
    pub fn model(&self) -> Result<Model, EngineError> {
        let serving = self.serving();
        let describe = |listed: tastemaker_artifacts::Listed| {
            let (manifest, error) = match listed.manifest {
                Ok(manifest) => (serde_json::to_value(&manifest).ok(), None),
                Err(error) => (None, Some(error.to_string())),
            };
            GenerationInfo {
                version: listed.version.0,
                champion: listed.champion,
                serving: serving == Some(listed.version),
                manifest,
                error,
            }
        };
        Ok(Model {
            name: MODEL.to_owned(),
            champion: self.generations.champion()?.map(|v| v.0),
            serving: serving.map(|v| v.0),
            generations: self.generations.list()?.into_iter().map(describe).collect(),
        })
    }

    pub(super) fn refused(&self) -> Option<RefusedGeneration> {
        self.refused.lock().as_ref().map(|refusal| refusal.told.clone())
    }

    fn load(&self, version: Version) -> Result<Arc<ServingGeneration>, EngineError> {
        let generation = self.generations.load(version)?;
        let serving = ServingGeneration::load(&generation, &self.catalog)
            .map_err(|error| EngineError::Refused { version, reason: error.to_string() })?;
        Ok(Arc::new(serving))
    }

    fn install(&self, generation: Arc<ServingGeneration>) {
        let version = generation.version();
        self.recommender.install(generation);
        *self.refused.lock() = None;
        self.monitor.count(&metrics::GENERATION_LOADS, ["installed"], 1);
        tracing::info!(version, "a generation serves");
    }

    /// Tells of a champion that cannot serve; `None` if the pointer cannot be read.
    fn refuse(&self, seen: Option<(Version, Stamp)>, error: &dyn std::fmt::Display) {
        let version = seen.as_ref().map(|(version, _)| version.0);
        let told = RefusedGeneration { version, reason: error.to_string() };
        let mut known = self.refused.lock();
        if known.as_ref().is_none_or(|known| known.told != told) {
            tracing::error!(serving = ?self.serving(), "{error}; the present generation keeps serving");
            self.monitor.count(&metrics::GENERATION_LOADS, ["refused"], 1);
        }
        *known = Some(Refusal { told, seen });
    }
}
