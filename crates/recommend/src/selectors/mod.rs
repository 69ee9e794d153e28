//! Which candidates are served, and in which order.

mod best;
mod diversity;
mod slate;

pub(crate) use best::Best;
pub(crate) use diversity::Diversity;
