//! Why declared features cannot be.

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
}
