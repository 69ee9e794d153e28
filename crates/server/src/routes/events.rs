//! Recording what users do.

use axum::Json;
use axum::extract::State;
use tastemaker_api::{EventsRequest, Problem, WriteResponse};

use super::write;
use crate::http::body::JsonBody;
use crate::http::problem::ApiError;
use crate::ingest::Rules;
use crate::state::App;

/// Record events
///
/// Answers after all accepted events are on disk and take part in recommendations. A refused event does not stop the
/// others. Sending a request again is safe: an event whose `event_id` is known is a duplicate and not recorded again.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", request_body = EventsRequest,
    responses(
        (status = 200, body = WriteResponse, description = "One result for each event"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "Not such a request"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Too much at once"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Every event was refused"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Busy; try again"),
        (status = 507, body = Problem, content_type = "application/problem+json", description = "The disk is full; nothing was recorded"),
    )
)]
pub(super) async fn post_events(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<WriteResponse>, ApiError> {
    write::batch::<EventsRequest>(&app, body, "event", Rules::events).await.map(Json)
}
