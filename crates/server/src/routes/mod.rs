//! The routes: one file each for what they are about, put together here with the scope that each needs.

mod entities;
mod events;
mod feast;
mod features;
mod health;
mod models;
mod recommendations;
mod write;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use tastemaker_api::ProblemKind;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::http::problem::ApiError;
use crate::http::{admission, auth, edge};
use crate::state::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tastemaker",
        description = "Real-time recommendations: events in, recommendations out. Every error is problem details (RFC 9457)."
    ),
    security((), ("bearer" = []), ("key" = [])),
    modifiers(&Security)
)]
struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key"))));
    }
}

/// What any route may answer besides what it says of itself.
const ANYWHERE: [(&str, &str); 6] = [
    ("400", "The request is not what it should be"),
    ("401", "An API key is needed"),
    ("403", "The API key, or where the request comes from, does not allow this"),
    ("500", "Something is wrong in the server, whose log says what"),
    ("503", "Too much is being asked at once, or the server stops; try again"),
    ("504", "It took longer than server.request_timeout"),
];

/// What routes that take a body may answer.
const OF_BODIES: [(&str, &str); 4] = [
    ("413", "The body, or the number of records in it, is too large"),
    ("415", "The body is not said to be JSON"),
    ("422", "What the body says cannot be taken"),
    ("507", "The disk is full; what was acknowledged before is safe"),
];

/// Gives every response a description, which OpenAPI demands, and every operation the answers that it may give as any other.
fn complete(api: &mut utoipa::openapi::OpenApi) {
    for item in api.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            let of_bodies = OF_BODIES.into_iter().filter(|_| operation.request_body.is_some());
            for (status, description) in ANYWHERE.into_iter().chain(of_bodies) {
                responses.entry(status.to_owned()).or_insert_with(|| {
                    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                    let response = ResponseBuilder::new().content("application/problem+json", content);
                    RefOr::T(response.description(description).build())
                });
            }
            for (status, response) in responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    let status = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
                    status
                        .and_then(|status| status.canonical_reason())
                        .unwrap_or("Answer")
                        .clone_into(&mut response.description);
                }
            }
        }
    }
}

/// The whole router.
pub(crate) fn router(app: App) -> Router {
    let open = OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(feast::health));
    let read = OpenApiRouter::new()
        .routes(routes!(recommendations::recommend))
        .routes(routes!(recommendations::recommend_user))
        .routes(routes!(recommendations::similar))
        .routes(routes!(recommendations::rank))
        .routes(routes!(entities::list_items))
        .routes(routes!(entities::get_item))
        .routes(routes!(entities::list_users))
        .routes(routes!(entities::get_user))
        .routes(routes!(features::list))
        .routes(routes!(features::online))
        .routes(routes!(feast::get_online_features))
        .routes(routes!(models::list))
        .routes(routes!(models::show));
    let write = OpenApiRouter::new()
        .routes(routes!(events::post_events))
        .routes(routes!(entities::post_items))
        .routes(routes!(entities::put_item))
        .routes(routes!(entities::patch_item))
        .routes(routes!(entities::delete_item))
        .routes(routes!(entities::post_users))
        .routes(routes!(entities::put_user))
        .routes(routes!(entities::patch_user))
        .routes(routes!(entities::delete_user))
        .routes(routes!(feast::push))
        .routes(routes!(feast::write_to_online_store));
    let admin = OpenApiRouter::new().routes(routes!(models::promote)).routes(routes!(models::rollback));
    let metrics = OpenApiRouter::new().routes(routes!(health::metrics));

    let admit = from_fn_with_state(app.clone(), admission::admit);
    let (router, mut api) = OpenApiRouter::with_openapi(Api::openapi())
        .merge(open)
        .merge(read.route_layer(admit.clone()).route_layer(from_fn_with_state(app.clone(), auth::read)))
        .merge(write.route_layer(admit.clone()).route_layer(from_fn_with_state(app.clone(), auth::write)))
        .merge(admin.route_layer(admit).route_layer(from_fn_with_state(app.clone(), auth::admin)))
        .merge(metrics.route_layer(from_fn_with_state(app.clone(), auth::read)))
        .split_for_parts();
    complete(&mut api);
    // The badge of a validator on the internet would tell it where this server is.
    let page = utoipa_swagger_ui::Config::default().validator_url("none");
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api).config(page))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(app.clone(), edge::edge))
        .with_state(app)
}

/// Does heavy work apart from the threads that answer requests, one piece at a time.
async fn apart<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = app.heavy_work().acquire_owned().await.map_err(|e| ApiError::internal(&e))?;
    let (app, span) = (app.clone(), tracing::Span::current());
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        span.in_scope(|| work(&app))
    });
    done.await.map_err(|e| ApiError::internal(&e))?
}

async fn not_found(request: Request) -> impl IntoResponse {
    let detail = format!("there is nothing at {}; the routes are listed at /docs", request.uri().path());
    ApiError::not_found(detail)
}

async fn method_not_allowed(request: Request) -> impl IntoResponse {
    let detail = format!("{} is not allowed here; the routes are listed at /docs", request.method());
    ApiError::new(ProblemKind::MethodNotAllowed, detail)
}
