//! The service. [`Engine`] ties a project's parts together — log, online state, generations, recommender — for the HTTP
//! routes here and for the command line, which uses it in its own process. How recommendations are made, and what is on
//! disk, is for other crates.

mod connections;
mod engine;
mod error;
mod feature_rows;
mod http;
mod ingest;
mod routes;
mod serve;
mod state;
mod stream;

use std::sync::Arc;

pub use engine::{Access, Engine, FeaturesRequest, OnlineFeatures, follower, list_features};
pub use error::EngineError;
pub use feature_rows::RefusedRows;
pub use serve::{serve, serve_engine, shutdown_signal};
pub use state::Lifecycle;
pub use tastemaker_api::FeaturesResponse;

/// Whether a project with this configuration could be opened, as far as can be told without its data: its expressions compile, and what it
/// names is there.
///
/// # Errors
/// The setting that cannot work.
pub fn check(config: &tastemaker_config::Config) -> Result<(), EngineError> {
    engine::check_items_source(config)?;
    let features = Arc::new(tastemaker_features::set::FeatureSet::compile(config)?);
    let catalog = Arc::new(tastemaker_store::Catalog::new(config.items.schema()));
    let options = tastemaker_recommend::state_options(config);
    let state = tastemaker_features::OnlineState::with_features(options, Arc::clone(&catalog), features);
    tastemaker_recommend::Recommender::new(config, catalog, Arc::new(state))?;
    Ok(())
}

/// The router of the service over an open engine. `lifecycle` says when it is on its way out.
///
/// # Errors
/// The configured keys are not usable.
pub fn app(engine: Arc<Engine>, lifecycle: Lifecycle) -> Result<axum::Router, EngineError> {
    Ok(routes::router(state::App::new(engine, lifecycle)?))
}
