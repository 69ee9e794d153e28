//! Models and their generations: list, promote, roll back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tastemaker_api::{Model, ModelsResponse, Problem, PromoteRequest, parse};
use tastemaker_artifacts::Version;
use tastemaker_types::did_you_mean;

use crate::engine::MODEL;
use crate::http::body::{JsonBody, PathId};
use crate::http::problem::ApiError;
use crate::state::App;
use crate::{Engine, EngineError};

/// Reads or changes generations on a thread that may block: files are read and checked.
async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(Arc<Engine>) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, ApiError> {
    let engine = Arc::clone(app.engine());
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(engine))).await;
    Ok(done.map_err(|e| ApiError::internal(&e))??)
}

fn known(name: &str) -> Result<(), ApiError> {
    if name == MODEL {
        return Ok(());
    }
    Err(ApiError::not_found(format!("there is no model '{name}'{}", did_you_mean(name, [MODEL]))))
}

/// List models
#[utoipa::path(get, path = "/v1/models", operation_id = "list_models", tag = "models", responses((status = 200, body = ModelsResponse)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<ModelsResponse>, ApiError> {
    let model = blocking(&app, |engine| engine.model()).await?;
    Ok(Json(ModelsResponse { models: vec![model] }))
}

/// Show a model
#[utoipa::path(
    get, path = "/v1/models/{name}", operation_id = "get_model", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = Model), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn show(State(app): State<App>, PathId(name): PathId) -> Result<Json<Model>, ApiError> {
    known(&name)?;
    blocking(&app, |engine| engine.model()).await.map(Json)
}

/// Make a generation serve
///
/// Answers after it serves. One that does not pass its checks is refused, and the present one keeps serving.
#[utoipa::path(
    post, path = "/v1/models/{name}/promote", operation_id = "promote_generation", tag = "models", params(("name" = String, Path)),
    request_body = PromoteRequest,
    responses(
        (status = 200, body = Model),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is corrupt or does not fit"),
    )
)]
pub(super) async fn promote(
    State(app): State<App>,
    PathId(name): PathId,
    JsonBody(body): JsonBody,
) -> Result<Json<Model>, ApiError> {
    known(&name)?;
    let request: PromoteRequest = parse(&body)?;
    blocking(&app, move |engine| engine.promote(Version(request.version))).await.map(Json)
}

/// Go back to the generation before
#[utoipa::path(
    post, path = "/v1/models/{name}/rollback", operation_id = "roll_back", tag = "models", params(("name" = String, Path)),
    responses(
        (status = 200, body = Model),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There is none before"),
    )
)]
pub(super) async fn rollback(State(app): State<App>, PathId(name): PathId) -> Result<Json<Model>, ApiError> {
    known(&name)?;
    blocking(&app, |engine| engine.rollback()).await.map(Json)
}
