//! What can go wrong, sorted by who must act: the caller ([`RecommendError`]), the owner of the project file ([`SetupError`]), whoever made the
//! generation ([`GenerationError`]). What goes wrong inside of a request's stages degrades the answer instead.

use tastemaker_artifacts::ArtifactError;
use tastemaker_expr::ExprError;
use tastemaker_models::ModelError;
use tastemaker_store::index::IndexError;
use tastemaker_types::{AttributeError, IdError};

/// A request that cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecommendError {
    /// A number is outside of its range.
    #[error("{what} is {given}; give 1 to {max}")]
    OutOfRange {
        /// Which one.
        what: &'static str,
        /// As given.
        given: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A list is too long.
    #[error("{what} has {given} entries; at most {max} are allowed")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The longest allowed.
        max: usize,
    },
    /// An id is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The filter is none.
    #[error("in the filter: {0}")]
    Filter(#[source] ExprError),
    /// A parameter is not declared in `[recommend.context]`, or is of another type.
    #[error("in the context: {0}; what it may hold is declared under [recommend.context] in tastemaker.toml")]
    Context(#[from] AttributeError),
    /// There is no such item.
    #[error("there is no item '{id}'")]
    UnknownItem {
        /// As given.
        id: String,
    },
    /// A compiled expression could not be evaluated: a bug, and nothing is served unchecked.
    #[error("the {what} could not be evaluated: {source}")]
    Evaluation {
        /// Which expression.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A `[recommend]` section that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An expression is none.
    #[error("recommend.{key}: {source}")]
    Expression {
        /// Which setting.
        key: &'static str,
        /// What is wrong with it.
        source: Box<ExprError>,
    },
    /// The boost is no number.
    #[error("recommend.boost is {found}; it must be a number, such as CASE WHEN brand = 'own' THEN 1.2 ELSE 1 END")]
    Boost {
        /// What it is instead.
        found: String,
    },
    /// A deadline is set for a stage that is not there.
    #[error("recommend.deadlines: there is no stage '{name}'{hint}")]
    UnknownStage {
        /// As written.
        name: String,
        /// The nearest or all names.
        hint: String,
    },
    /// A feature to be logged is not declared.
    #[error("recommend.features: {message}")]
    Feature {
        /// Which, and what may have been meant.
        message: String,
    },
    /// An attribute is not declared.
    #[error("recommend.{key}: unknown attribute '{name}'{hint}")]
    UnknownAttribute {
        /// Which setting.
        key: &'static str,
        /// As written.
        name: String,
        /// The nearest or all names.
        hint: String,
    },
}

impl SetupError {
    /// The key of the project file that is to be changed.
    pub fn key(&self) -> String {
        match self {
            Self::Expression { key, .. } | Self::UnknownAttribute { key, .. } => format!("recommend.{key}"),
            Self::Boost { .. } => "recommend.boost".to_owned(),
            Self::UnknownStage { name, .. } => format!("recommend.deadlines.{name}"),
            Self::Feature { .. } => "recommend.features".to_owned(),
        }
    }
}

/// A generation that cannot serve; the one before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// A file is missing or damaged.
    #[error("generation {version} cannot be read: {source}")]
    Artifact {
        /// Which generation.
        version: u64,
        /// What is wrong.
        source: ArtifactError,
    },
    /// Factors or the encoder are not what they should be.
    #[error("generation {version} has a bad {file}: {source}; train again, or promote another generation")]
    Model {
        /// Which generation.
        version: u64,
        /// Which file.
        file: &'static str,
        /// What is wrong.
        source: ModelError,
    },
    /// The index is not what it should be.
    #[error("generation {version} has a bad index: {source}; train again, or promote another generation")]
    Index {
        /// Which generation.
        version: u64,
        /// What is wrong.
        source: IndexError,
    },
    /// Two files do not go together.
    #[error("generation {version} does not fit together: {what} is {found}, but {expected} was expected; train again")]
    Mismatch {
        /// Which generation.
        version: u64,
        /// What was compared.
        what: &'static str,
        /// As found.
        found: usize,
        /// As the rest of the generation says.
        expected: usize,
    },
}
