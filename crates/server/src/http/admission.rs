//! Admission: how many requests are worked on at once, and for how long each. Above the limit a request is refused at
//! once, with a time to come back, instead of waiting in a queue that grows.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tastemaker_api::ProblemKind;
use tastemaker_monitor::catalogue as metrics;

use super::problem::ApiError;
use crate::state::App;

/// The middleware.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_permit) = app.permits().try_acquire() else {
        app.monitor().count(&metrics::SHED, ["overload"], 1);
        return ApiError::overloaded("too many requests at once; send it again in a moment").into_response();
    };
    let limit = app.config().server.request_timeout;
    match tokio::time::timeout(limit.to_duration(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!(
                "the request took longer than {limit}; a write may have been recorded: send it again, events with an id are recorded once"
            );
            ApiError::new(ProblemKind::Timeout, detail).into_response()
        }
    }
}
