//! Whether the service lives, whether it should be sent requests, and its metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use tastemaker_api::{Live, Ready};

use crate::state::App;

/// Is the process alive?
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = Live)))]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "ok".to_owned() })
}

/// Should requests be sent here?
///
/// Also says which generation serves, and why a newer one was refused, if one was.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready, description = "It is starting or stopping"))
)]
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let (status, word) = match () {
        () if app.draining() => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        () if !app.engine().has_begun() => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        () => (StatusCode::OK, "ready"),
    };
    (status, Json(app.engine().health(word)))
}

/// Metrics in the Prometheus text format
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"))
)]
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.engine().render_metrics())
}
