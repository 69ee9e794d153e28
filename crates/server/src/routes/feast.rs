//! The feature-server protocol that Feast's clients speak, over the same reads and pushes.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tastemaker_api::feast::{
    Columns, FeatureVectors, GetOnlineFeaturesRequest, GetOnlineFeaturesResponse, Metadata, PushRequest, Vector,
    WriteToOnlineStoreRequest,
};
use tastemaker_api::{Live, Problem, ProblemKind, parse};
use tastemaker_types::did_you_mean;

use super::features::{read, write};
use super::write::decode;
use crate::FeaturesRequest;
use crate::engine::cells;
use crate::feature_rows::id;
use crate::http::body::JsonBody;
use crate::http::problem::ApiError;
use crate::state::App;

/// Is the server there?
#[utoipa::path(get, path = "/health", tag = "feast", security(()), responses((status = 200, body = Live)))]
pub(super) async fn health() -> Json<Live> {
    Json(Live { status: "ok".to_owned() })
}

/// Read features, for Feast's clients
#[utoipa::path(
    post, path = "/get-online-features", tag = "feast", request_body = GetOnlineFeaturesRequest,
    responses(
        (status = 200, body = GetOnlineFeaturesResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_online_features(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let asked: GetOnlineFeaturesRequest = parse(&body)?;
    let mut request = FeaturesRequest {
        features: asked.features.unwrap_or_default(),
        service: asked.feature_service,
        ..FeaturesRequest::default()
    };
    for (key, values) in &asked.entities {
        let (what, ids) = match key.as_str() {
            "user_id" => ("user_id", &mut request.users),
            "item_id" => ("item_id", &mut request.items),
            other => {
                let hint = did_you_mean(other, ["user_id", "item_id"]);
                let message = format!("there is no join key '{other}'{hint}");
                return Err(ApiError::field(ProblemKind::InvalidRequest, "entities", message));
            }
        };
        for (place, value) in values.iter().enumerate() {
            let id = id(what, value).map_err(|message| {
                ApiError::field(ProblemKind::InvalidRequest, &format!("entities.{key}[{place}]"), message)
            })?;
            ids.push(id);
        }
    }
    let (entities, full_names) = (asked.entities, asked.full_feature_names);
    // Here each join key is a column of the answer, so none can stand for many rows.
    if let Some((key, values)) = entities.iter().find(|(_, values)| Some(values.len()) != first_len(&entities)) {
        let message = format!("'{key}' has {} values; give the same number of each join key", values.len());
        return Err(ApiError::field(ProblemKind::InvalidRequest, "entities", message));
    }
    read(&app, request, move |features| {
        let (mut feature_names, mut results) = (Vec::new(), Vec::new());
        for (key, ids) in &entities {
            feature_names.push(key.clone());
            results.push(Vector::Key(ids));
        }
        for (_, feature, values) in features.columns() {
            let name = if full_names { format!("{}__{}", feature.view, feature.name) } else { feature.name.clone() };
            feature_names.push(name);
            results.push(Vector::Feature(cells(values)));
        }
        check_names(&feature_names, full_names)?;
        write(features, &FeatureVectors { metadata: Metadata { feature_names }, results })
    })
    .await
}

/// Refuses two columns of one name, of which clients would see one alone.
fn check_names(names: &[String], full: bool) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) else { return Ok(()) };
    let remedy = if full { "ask for them one at a time" } else { "set full_feature_names to true" };
    let message = format!("two of them are called '{name}'; {remedy}");
    Err(ApiError::field(ProblemKind::InvalidRequest, "features", message))
}

fn first_len(columns: &Columns) -> Option<usize> {
    columns.values().next().map(Vec::len)
}

/// Write rows of a feature view, for Feast's clients
///
/// All rows are written or none. Answers once they are on disk and can be read.
#[utoipa::path(
    post, path = "/push", tag = "feast", request_body = PushRequest,
    responses(
        (status = 200, body = usize, description = "How many rows were written"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "A row is wrong; nothing was written"),
    )
)]
pub(super) async fn push(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Json<usize>, ApiError> {
    written(&app, body, |push: PushRequest| (push.push_source_name, push.df)).await
}

/// Write rows of a feature view by its name, for Feast's clients
///
/// As `/push`.
#[utoipa::path(
    post, path = "/write-to-online-store", tag = "feast", request_body = WriteToOnlineStoreRequest,
    responses(
        (status = 200, body = usize, description = "How many rows were written"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "A row is wrong; nothing was written"),
    )
)]
pub(super) async fn write_to_online_store(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<usize>, ApiError> {
    written(&app, body, |write: WriteToOnlineStoreRequest| (write.feature_view_name, write.df)).await
}

async fn written<T: DeserializeOwned + 'static>(
    app: &App,
    body: Bytes,
    parts: fn(T) -> (String, Columns),
) -> Result<Json<usize>, ApiError> {
    let (rows, pending) = decode(app, body, move |app, body| {
        let (view, columns) = parts(parse(body)?);
        Ok(app.engine().begin_push(&view, &columns)?)
    })
    .await?;
    pending.wait(app.monitor()).await?;
    Ok(Json(rows))
}
