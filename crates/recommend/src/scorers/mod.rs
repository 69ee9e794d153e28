//! What makes the score.

mod boost;
mod relevance;

pub(crate) use boost::Boost;
pub(crate) use relevance::Relevance;
