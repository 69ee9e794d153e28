//! Features: what there is, and their present values.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tastemaker_api::{FeaturesResponse, OnlineFeaturesRequest, OnlineFeaturesResponse, Problem, parse};

use super::apart;
use crate::http::body::JsonBody;
use crate::http::problem::ApiError;
use crate::state::App;
use crate::{FeaturesRequest, OnlineFeatures};

/// More values than this are read and written apart from the threads that answer requests.
const MANY_VALUES: usize = 50_000;
/// About as many bytes as a value, its status and its time take.
const BYTES_PER_VALUE: usize = 48;

/// List features
///
/// Every feature with what its declaration says, and the feature services.
#[utoipa::path(get, path = "/v1/features", operation_id = "list_features", tag = "features", responses((status = 200, body = FeaturesResponse)))]
pub(super) async fn list(State(app): State<App>) -> Json<FeaturesResponse> {
    Json(app.engine().features())
}

/// Read features
///
/// The present values of features of users, of items, or of pairs of both, in the order asked for. An entity that nobody
/// knows has rows as others have, with the status NOT_FOUND.
#[utoipa::path(
    post, path = "/v1/features/online", operation_id = "read_features", tag = "features", request_body = OnlineFeaturesRequest,
    responses(
        (status = 200, body = OnlineFeaturesResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Busy; try again"),
    )
)]
pub(super) async fn online(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Response, ApiError> {
    let OnlineFeaturesRequest { entities, features, feature_service, context } = parse(&body)?;
    let request = FeaturesRequest {
        users: entities.user,
        items: entities.item,
        features,
        service: feature_service,
        context,
        now: None,
    };
    read(&app, request, |features| write(features, features)).await
}

/// Reads features and answers with what `writer` makes of them.
pub(super) async fn read(
    app: &App,
    request: FeaturesRequest,
    writer: impl FnOnce(&OnlineFeatures) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, ApiError> {
    let read = app.engine().plan_features(request)?;
    let values = read.values();
    let work = move |app: &App| {
        let features = app.engine().read_features(read)?;
        writer(&features).map_err(|error| ApiError::internal(&error))
    };
    // A few values take less time than handing them to another thread.
    let body = if values > MANY_VALUES { apart(app, work).await? } else { work(app)? };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// An answer as JSON.
pub(super) fn write(features: &OnlineFeatures, answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(256 + features.values() * BYTES_PER_VALUE);
    serde_json::to_writer(&mut body, answer)?;
    Ok(body)
}
