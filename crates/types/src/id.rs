//! Ids of items, users, events, sessions and requests: any non-empty Unicode string without control characters, up to
//! [`MAX_ID_BYTES`] of UTF-8. Ids are compared byte for byte; nothing is trimmed or case-folded.

/// The longest id accepted, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 512;

/// Why a string cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The id is the empty string.
    #[error("{what} is empty; give a non-empty string")]
    Empty {
        /// Which id (`user_id`, `item_id`, …).
        what: &'static str,
    },
    /// The id is longer than [`MAX_ID_BYTES`].
    #[error("{what} has {bytes} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The id holds a control character.
    #[error("{what} has a control character (U+{code:04X}) at byte {at}; remove it")]
    Control {
        /// Which id.
        what: &'static str,
        /// The code point.
        code: u32,
        /// Byte offset in the id.
        at: usize,
    },
}

/// Checks that `id` may be used as an id. `what` names it in the error (`user_id`, …).
///
/// # Errors
/// [`IdError`] says which rule it breaks.
pub fn validate_id(what: &'static str, id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty { what });
    }
    if id.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong { what, bytes: id.len() });
    }
    match id.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(IdError::Control { what, code: u32::from(c), at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_printable_unicode_is_an_id() {
        for id in ["1", "käse", "商品-42", "🎬", "a b/c?d=e"] {
            assert_eq!(validate_id("item_id", id), Ok(()));
        }
    }

    #[test]
    fn empty_long_and_control_ids_name_the_rule_they_break() {
        assert_eq!(validate_id("user_id", ""), Err(IdError::Empty { what: "user_id" }));
        let long = "x".repeat(MAX_ID_BYTES + 1);
        assert!(matches!(validate_id("user_id", &long), Err(IdError::TooLong { bytes: 513, .. })));
        assert_eq!(validate_id("item_id", "a\u{7}"), Err(IdError::Control { what: "item_id", code: 7, at: 1 }));
    }
}
