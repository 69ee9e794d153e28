//! The edge of the service, around every request: its id, its span in the log, its place in the metrics, the catching of
//! panics, and the writing of problems. Metrics and logs name a route by its template, never by the path that was asked
//! for.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tastemaker_monitor::catalogue as metrics;
use tracing::Instrument;

use super::problem::{ApiError, complete};
use crate::state::App;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// Successful requests slower than this are logged as warnings. It is far above the promise of an answer's latency, which
/// the histogram watches: a slow disk must not fill the log as well.
const SLOW: std::time::Duration = std::time::Duration::from_secs(1);

/// The id of a request: the client's `x-request-id`, or one made here.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&HEADER).and_then(|v| v.to_str().ok());
        let usable =
            |id: &&str| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|b| b.is_ascii_graphic());
        Self(given.filter(usable).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// Counts a request as in flight for as long as it lives, however it ends.
struct InFlight<'a>(&'a App);

impl<'a> InFlight<'a> {
    fn new(app: &'a App) -> Self {
        app.monitor().adjust(&metrics::HTTP_IN_FLIGHT, [], 1.0);
        Self(app)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.monitor().adjust(&metrics::HTTP_IN_FLIGHT, [], -1.0);
    }
}

/// The middleware.
pub(crate) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = InFlight::new(&app);
    let id = RequestId::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = method_label(request.method());
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(id.clone());

    let span = tracing::info_span!("request", request_id = %id.0, method, route);
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();
    let response = handled.unwrap_or_else(|panic| ApiError::internal(&panic_message(&*panic)).into_response());
    let mut response = complete(response, &path, &id.0);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(HEADER, value);
    }
    if app.draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }

    let (status, elapsed) = (response.status(), started.elapsed());
    let labels = [route, method, status.as_str()];
    app.monitor().count(&metrics::HTTP_REQUESTS, labels, 1);
    app.monitor().observe(&metrics::HTTP_SECONDS, labels, elapsed);
    let (status, ms) = (status.as_u16(), elapsed.as_secs_f64() * 1e3);
    match status {
        500.. => tracing::warn!(status, ms, "failed"),
        400.. => tracing::debug!(status, ms, "refused"),
        _ if elapsed > SLOW => tracing::warn!(status, ms, "slow"),
        _ => tracing::debug!(status, ms, "answered"),
    }
    response
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("no message"))
}

/// The method as a label: any client can invent methods, so strangers share one.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tastemaker_config::Config;
    use tower::ServiceExt;

    use super::*;
    use crate::{Access, Engine, Lifecycle};

    async fn broken() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_service_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = folder.path().to_owned();
        let engine = Arc::new(Engine::open(Arc::new(config), Access::ReadWrite).unwrap());
        let app = App::new(engine, Lifecycle::default()).unwrap();
        let router =
            Router::new().route("/broken", get(broken)).layer(from_fn_with_state(app.clone(), edge)).with_state(app);
        for _ in 0..2 {
            let request = Request::builder().uri("/broken").body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 500);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["type"], "urn:tastemaker:problem:internal");
            assert!(!problem.to_string().contains("on purpose"), "the cause is for the log alone");
        }
    }

    #[test]
    fn a_usable_request_id_is_kept_and_another_replaced() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            RequestId::of(&headers).0
        };
        assert_eq!(of("abc-1"), "abc-1");
        for bad in ["", "two words", &"x".repeat(129)] {
            assert_eq!(of(bad).len(), 36, "{bad}");
        }
    }
}
