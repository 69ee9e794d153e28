//! What an answer is made from.

use std::sync::Arc;

use tastemaker_features::OnlineState;
use tastemaker_store::Catalog;

use crate::ServingGeneration;

/// Items, what is known of users, and a generation whose rows are those of the items. A server that follows the log has one world of everything;
/// one that asks another process has a small one for each request, of what that request may touch. Answers come about in both by the same stages.
#[derive(Clone)]
pub struct World {
    /// The items.
    pub catalog: Arc<Catalog>,
    /// Users, popularity, features: over the rows of the catalog.
    pub state: Arc<OnlineState>,
    /// The generation that answers, if any.
    pub generation: Option<Arc<ServingGeneration>>,
    /// Rows that are there for the histories of users alone, and in no answer.
    pub hidden: Vec<u32>,
}

impl World {
    /// What answers lack from the start.
    pub(crate) fn lacks(&self) -> Vec<String> {
        if self.generation.is_some() { Vec::new() } else { vec!["no_generation".to_owned()] }
    }
}
