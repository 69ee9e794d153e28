//! The service. [`Engine`] ties a project's parts together — log, online state, generations, recommender — for the HTTP
//! routes here and for the command line, which uses it in its own process. How recommendations are made, and what is on
//! disk, is for other crates.

mod engine;
mod error;
mod http;
mod ingest;
mod routes;
mod serve;
mod state;

use std::sync::Arc;

pub use engine::{Access, Engine};
pub use error::EngineError;
pub use serve::{serve, serve_engine, shutdown_signal};
pub use state::Lifecycle;

/// The router of the service over an open engine. `lifecycle` says when it is on its way out.
///
/// # Errors
/// The configured keys are not usable.
pub fn app(engine: Arc<Engine>, lifecycle: Lifecycle) -> Result<axum::Router, EngineError> {
    Ok(routes::router(state::App::new(engine, lifecycle)?))
}
