//! Request bodies and parameters: JSON by its content type, never larger than the limit, read into memory once.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tastemaker_api::ProblemKind;

use super::problem::ApiError;
use crate::state::App;

/// How much of a body that is too large is read and thrown away, so that the client gets to read the answer.
const DISCARDED_BYTES: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// The bytes of a JSON body.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            let detail = format!(
                "the content type is '{content_type}'; send JSON with the header 'content-type: application/json'"
            );
            return Err(ApiError::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let limit = app.config().server.body_limit.as_usize();
        read(request.into_body(), limit).await.map(Self)
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes; send less at a time");
        ApiError::new(ProblemKind::TooLarge, detail)
    };
    if body.size_hint().lower() > limit as u64 {
        discard(body).await;
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            Err(ApiError::new(ProblemKind::InvalidRequest, format!("the body could not be read to its end: {error}")))
        }
    }
}

async fn discard(body: Body) {
    let mut left = DISCARDED_BYTES;
    let mut chunks = body.into_data_stream();
    let reading = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whether it ended or time ran out makes no difference to the answer.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

/// The parameters of the query string, strictly.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params)).map_err(|e: QueryRejection| e.into())
    }
}

/// One id from the path, percent-decoded.
pub(crate) struct PathId(pub(crate) String);

impl FromRequestParts<App> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(id) = Path::<String>::from_request_parts(parts, app).await?;
        tastemaker_types::validate_id("id", &id)
            .map_err(|e| ApiError::field(ProblemKind::InvalidRequest, "id", e.to_string()))?;
        Ok(Self(id))
    }
}
