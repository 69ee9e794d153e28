//! What is attached to candidates before they are scored.

mod attributes;
mod signals;

pub(crate) use attributes::ItemAttributes;
pub(crate) use signals::Similarities;
