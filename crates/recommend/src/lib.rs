//! The stages of a recommendation, one file each (file = type = name in metrics and traces), and their assembly into three pipelines:
//! recommendations for a user, items like an item, and the order of given items. `docs/recommending.md` tells the flow, the formula of the
//! score and every setting. Nothing here touches disk once a generation is loaded, and nothing here knows HTTP.

mod answer;
mod assembly;
mod candidates;
mod check;
mod error;
mod explain;
mod expressions;
mod features;
mod filters;
mod generation;
mod hydrators;
mod names;
mod numeric;
mod query;
mod recommender;
mod request;
mod scorers;
mod selectors;
mod sources;
mod world;

pub use assembly::state_options;
pub use check::check_generation;
pub use error::{GenerationError, RecommendError, SetupError};
pub use explain::{Dropped, Explanation, ItemExplanation, Retrieval, UserExplanation};
pub use generation::{Model, ServingGeneration};
pub use recommender::Recommender;
pub use request::{
    MAX_CANDIDATES, MAX_IDS, RankRequest, RecommendRequest, Recommendation, RecommendedItem, SimilarRequest,
};
pub use world::World;
