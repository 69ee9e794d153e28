//! The limits on an event's properties: anything that a client wants to keep beside its fields.

use crate::attribute::{MAX_TAGS, MAX_TEXT_BYTES};
use crate::{Attributes, IdError, Value, validate_id};

/// The most properties of one event.
pub const MAX_PROPERTIES: usize = 64;

/// Why properties are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// There are too many.
    #[error("{given} properties; at most {MAX_PROPERTIES}")]
    TooMany {
        /// How many.
        given: usize,
    },
    /// A name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// A list of texts is too long.
    #[error("property '{name}' has {given} texts; at most {MAX_TAGS}")]
    TooManyTexts {
        /// The property.
        name: String,
        /// How many.
        given: usize,
    },
    /// A text is too long.
    #[error("property '{name}' has {bytes} bytes; at most {MAX_TEXT_BYTES}")]
    TooLong {
        /// The property.
        name: String,
        /// The length of its longest text.
        bytes: usize,
    },
}

/// Checks the number, the names and the sizes of properties.
///
/// # Errors
/// The first that breaks a limit.
pub fn check_properties(properties: &Attributes) -> Result<(), PropertyError> {
    if properties.len() > MAX_PROPERTIES {
        return Err(PropertyError::TooMany { given: properties.len() });
    }
    for (name, value) in properties {
        validate_id("the property's name", name)?;
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Tags(tags) if tags.len() > MAX_TAGS => {
                return Err(PropertyError::TooManyTexts { name: name.clone(), given: tags.len() });
            }
            Value::Tags(tags) => tags.iter().map(String::len).max().unwrap_or(0),
            Value::Bool(_) | Value::Number(_) | Value::Time(_) => 0,
        };
        if bytes > MAX_TEXT_BYTES {
            return Err(PropertyError::TooLong { name: name.clone(), bytes });
        }
    }
    Ok(())
}
