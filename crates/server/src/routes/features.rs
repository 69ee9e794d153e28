//! Features: what there is, and their present values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tastemaker_api::{FeaturesResponse, OnlineFeaturesRequest, OnlineFeaturesResponse, Problem, parse};

use super::apart;
use crate::engine::BYTES_PER_VALUE;
use crate::http::body::JsonBody;
use crate::http::problem::ApiError;
use crate::state::App;
use crate::{FeaturesRequest, OnlineFeatures};

/// More than this, in values like numbers, is read and written apart from the threads that answer requests.
const HEAVY: usize = 50_000;

/// List features
///
/// Every feature with its entity, type, ttl, default and what people say of it, and the feature services.
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
    let no_rows = [&entities.user, &entities.item].into_iter().flatten().any(Vec::is_empty);
    let request = FeaturesRequest {
        users: entities.user.unwrap_or_default(),
        items: entities.item.unwrap_or_default(),
        no_rows,
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
    writer: impl FnOnce(&OnlineFeatures) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let read = app.engine().plan_features(request)?;
    let world = app.engine().world_of(&read).await?;
    // A few values take less time than handing them to another thread.
    let body = if read.weight() > HEAVY {
        let waiting = Waiting::default();
        let abandoned = Arc::clone(&waiting.abandoned);
        let work = move |app: &App| {
            let features = app.engine().read_features(&world, read, &|| abandoned.load(Ordering::Relaxed))?;
            writer(&features)
        };
        apart(app, work).await?
    } else {
        let features = app.engine().read_features(&world, read, &|| false)?;
        writer(&features)?
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A request that waits. When it does no more, since it took too long or its client is gone, the work for it ends.
#[derive(Default)]
struct Waiting {
    abandoned: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// An answer as JSON.
pub(super) fn write(features: &OnlineFeatures, answer: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::with_capacity(256 + features.values() * BYTES_PER_VALUE);
    serde_json::to_writer(&mut body, answer).map_err(|error| ApiError::internal(&error))?;
    Ok(body)
}
