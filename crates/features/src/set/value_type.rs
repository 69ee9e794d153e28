//! The types of features' values.

use arrow_schema::DataType;
use tastemaker_config::FeatureKind;
use tastemaker_types::{AttributeType, FeatureValue};

/// The type of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// A finite 64-bit float.
    Number,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// An instant.
    Time,
    /// A list of texts.
    Texts,
    /// A list of 32-bit floats.
    Vector,
    /// Numbers by name.
    Map,
}

impl ValueType {
    /// As users write and read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "texts",
            Self::Vector => "vector",
            Self::Map => "map",
        }
    }

    /// Whether a value is of this type.
    pub const fn holds(self, value: &FeatureValue) -> bool {
        matches!(
            (self, value),
            (Self::Number, FeatureValue::Number(_))
                | (Self::Bool, FeatureValue::Bool(_))
                | (Self::Text, FeatureValue::Text(_))
                | (Self::Time, FeatureValue::Time(_))
                | (Self::Texts, FeatureValue::Texts(_))
                | (Self::Vector, FeatureValue::Vector(_))
                | (Self::Map, FeatureValue::Map(_))
        )
    }

    /// What expressions see; none for what they cannot read.
    pub fn expression_type(self) -> Option<DataType> {
        let attribute = match self {
            Self::Number => AttributeType::Number,
            Self::Bool => AttributeType::Bool,
            Self::Text => AttributeType::Text,
            Self::Time => AttributeType::Time,
            Self::Texts => AttributeType::Tags,
            Self::Vector | Self::Map => return None,
        };
        Some(tastemaker_expr::arrow_type(attribute))
    }
}

impl From<FeatureKind> for ValueType {
    fn from(kind: FeatureKind) -> Self {
        match kind {
            FeatureKind::Number => Self::Number,
            FeatureKind::Bool => Self::Bool,
            FeatureKind::Text => Self::Text,
            FeatureKind::Time => Self::Time,
            FeatureKind::Texts => Self::Texts,
            FeatureKind::Vector => Self::Vector,
        }
    }
}
