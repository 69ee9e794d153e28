//! Why declared features cannot be.

use tastemaker_config::Config;

/// A declaration that cannot work: its key in the project file, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct FeatureSetError {
    /// As in `features[2].filter`.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl FeatureSetError {
    pub(super) fn new(key: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { key: key.into(), message: message.to_string() }
    }

    /// Names the feature that `features[2]` is.
    pub(super) fn naming(mut self, config: &Config) -> Self {
        let number = self.key.strip_prefix("features[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
        if let Some(feature) = number.and_then(|number| config.features.get(number)) {
            self.message = format!("{} (feature '{}.{}')", self.message, feature.entity.name(), feature.name);
        }
        self
    }
}
