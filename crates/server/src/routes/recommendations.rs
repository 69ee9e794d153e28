//! Recommendations, similar items, ranking: from the wire's request to the engine's and back.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use tastemaker_api::{
    ParamValue, Problem, ProblemKind, RankRequest as RankBody, RecommendationsQuery, RecommendationsRequest,
    RecommendationsResponse, RecommendedItem, SimilarQuery, parse,
};
use tastemaker_expr::Bind;
use tastemaker_recommend::{MAX_IDS, RankRequest, RecommendRequest, Recommendation, SimilarRequest};
use tastemaker_types::Attributes;

use crate::http::body::{JsonBody, Params, PathId};
use crate::http::edge::RequestId;
use crate::http::problem::ApiError;
use crate::state::App;

const MAX_FILTER_BYTES: usize = 16 * 1024;
const MAX_PARAMS: usize = 100;

/// Recommend items to a user
#[utoipa::path(
    post, path = "/v1/recommendations", tag = "recommendations", request_body = RecommendationsRequest,
    responses(
        (status = 200, body = RecommendationsResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Busy; try again"),
    )
)]
pub(super) async fn recommend(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    JsonBody(body): JsonBody,
) -> Result<Json<RecommendationsResponse>, ApiError> {
    answer_user(&app, id, parse(&body)?).await
}

/// Recommend items to a user, asked for in the query string
#[utoipa::path(
    get, path = "/v1/users/{id}/recommendations", tag = "recommendations",
    params(("id" = String, Path), RecommendationsQuery),
    responses(
        (status = 200, body = RecommendationsResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn recommend_user(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    PathId(user): PathId,
    Params(query): Params<RecommendationsQuery>,
) -> Result<Json<RecommendationsResponse>, ApiError> {
    let context = context(query.context.as_deref())?;
    answer_user(&app, id, RecommendationsRequest { context, ..query.for_user(user) }).await
}

/// Find items like an item
#[utoipa::path(
    get, path = "/v1/items/{id}/similar", tag = "recommendations", params(("id" = String, Path), SimilarQuery),
    responses(
        (status = 200, body = RecommendationsResponse),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn similar(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    PathId(item_id): PathId,
    Params(query): Params<SimilarQuery>,
) -> Result<Json<RecommendationsResponse>, ApiError> {
    check_filter(query.filter.as_deref(), 0)?;
    let request = SimilarRequest {
        item_id,
        limit: query.limit,
        filter: query.filter,
        context: context(query.context.as_deref())?,
        explain: query.explain,
        request_id: Some(id.0),
        ..SimilarRequest::default()
    };
    // What cannot be read now is unknown, as an item that does not exist.
    let _ = app.engine().bring_in(std::slice::from_ref(&request.item_id)).await;
    Ok(response(app.engine().similar(&request).await?, None))
}

/// Order given items for a user
#[utoipa::path(
    post, path = "/v1/rank", tag = "recommendations", request_body = RankBody,
    responses(
        (status = 200, body = RecommendationsResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rank(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    JsonBody(body): JsonBody,
) -> Result<Json<RecommendationsResponse>, ApiError> {
    let RankBody { user_id, items, context, explain } = parse(&body)?;
    let request = RankRequest { user_id, items, context, explain, request_id: Some(id.0), now: None };
    // Those that cannot be read now are left out, as items that do not exist.
    if request.items.len() <= MAX_IDS {
        let _ = app.engine().bring_in(&request.items).await;
    }
    Ok(response(app.engine().rank(&request).await?, Some(request.user_id)))
}

// An answer takes a millisecond of CPU time and waits for nothing but Redis, so it is made on the thread that read the request: handing it
// to another would cost more than it frees.
async fn answer_user(
    app: &App,
    id: RequestId,
    asked: RecommendationsRequest,
) -> Result<Json<RecommendationsResponse>, ApiError> {
    check_filter(asked.filter.as_deref(), asked.params.len())?;
    let request = RecommendRequest {
        user_id: asked.user_id,
        limit: asked.limit,
        filter: asked.filter,
        params: binds(asked.params),
        context: asked.context,
        exclude: asked.exclude,
        include_seen: asked.include_seen,
        candidates: asked.candidates,
        explain: asked.explain,
        now: None,
        request_id: Some(id.0),
    };
    Ok(response(app.engine().recommend(&request).await?, Some(request.user_id)))
}

fn check_filter(filter: Option<&str>, params: usize) -> Result<(), ApiError> {
    let too_large = |field, message| Err(ApiError::field(ProblemKind::InvalidRequest, field, message));
    match filter.map_or(0, str::len) {
        bytes if bytes > MAX_FILTER_BYTES => {
            too_large("filter", format!("the filter has {bytes} bytes; at most {MAX_FILTER_BYTES} are allowed"))
        }
        _ if params > MAX_PARAMS => {
            too_large("params", format!("{params} parameters; at most {MAX_PARAMS} are allowed"))
        }
        _ => Ok(()),
    }
}

/// The context of a query string.
fn context(text: Option<&str>) -> Result<Attributes, ApiError> {
    let Some(text) = text else { return Ok(Attributes::new()) };
    serde_json::from_str(text).map_err(|error| {
        let message = format!("context is no JSON object of parameters, such as {{\"device\": \"phone\"}}: {error}");
        ApiError::field(ProblemKind::InvalidRequest, "context", message)
    })
}

fn binds(params: BTreeMap<String, ParamValue>) -> BTreeMap<String, Bind> {
    fn bind(value: ParamValue) -> Bind {
        match value {
            ParamValue::Bool(value) => Bind::Bool(value),
            ParamValue::Number(value) => Bind::Number(value),
            ParamValue::Text(value) => Bind::Text(value),
            ParamValue::List(values) => Bind::List(values.into_iter().map(bind).collect()),
        }
    }
    params.into_iter().map(|(name, value)| (name, bind(value))).collect()
}

fn response(answer: Recommendation, user_id: Option<String>) -> Json<RecommendationsResponse> {
    let items = answer.items.into_iter().map(|item| RecommendedItem {
        item_id: item.item_id,
        score: item.score,
        sources: item.sources.into_iter().map(str::to_owned).collect(),
        attributes: item.attributes,
    });
    Json(RecommendationsResponse {
        request_id: answer.request_id,
        user_id,
        items: items.collect(),
        generation: answer.generation,
        degraded: answer.degraded,
        explain: answer.explain.and_then(|story| serde_json::to_value(&story).ok()),
    })
}
