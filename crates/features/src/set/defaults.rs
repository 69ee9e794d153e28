//! What is given where a feature has no value: of the feature's own type.

use tastemaker_config::DefaultValue;
use tastemaker_types::FeatureValue;

use super::{FeatureSetError, ValueType};

/// The default of a feature of this type; `key` is where it is declared.
pub(super) fn default_of(
    key: &str,
    value_type: ValueType,
    given: Option<&DefaultValue>,
) -> Result<Option<FeatureValue>, FeatureSetError> {
    let Some(given) = given else { return Ok(None) };
    let (default, given) = match given {
        DefaultValue::Number(number) if !number.is_finite() => {
            return Err(FeatureSetError::new(key, format!("the default is {number}; give a finite number")));
        }
        DefaultValue::Number(number) => (FeatureValue::Number(*number), "number"),
        DefaultValue::Bool(truth) => (FeatureValue::Bool(*truth), "bool"),
        DefaultValue::Text(text) => (FeatureValue::Text(text.clone()), "text"),
    };
    let remedy = match value_type {
        _ if value_type.holds(&default) => return Ok(Some(default)),
        ValueType::Number => "give a number",
        ValueType::Bool => "give true or false",
        ValueType::Text => "give a text in quotes",
        _ => "only features of the types number, bool and text can have one; leave it out",
    };
    Err(FeatureSetError::new(
        key,
        format!("the default is a {given}, but the feature is a {}; {remedy}", value_type.name()),
    ))
}
