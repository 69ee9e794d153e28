//! From errors to problem details. A handler returns [`ApiError`]; the [edge](super::edge) adds the path and the request
//! id and writes the body, so that every problem, whoever raised it, looks the same.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tastemaker_api::{Problem, ProblemKind, reword};
use tastemaker_artifacts::ArtifactError;
use tastemaker_log::LogError;
use tastemaker_recommend::RecommendError;

use crate::EngineError;

/// What a handler answers when it cannot do what was asked.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    /// Seconds after which trying again makes sense.
    retry_after: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    pub(crate) fn field(kind: ProblemKind, field: &str, message: impl Into<String>) -> Self {
        Problem::field(kind, field, message).into()
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(ProblemKind::Overloaded, detail) }
    }

    /// A fault of the server; the cause goes to the log alone.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!("{cause}");
        Self::new(
            ProblemKind::Internal,
            "something went wrong here; the server's log has the cause under the request id",
        )
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Box::new(problem).into()
    }
}

impl From<Box<Problem>> for ApiError {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, retry_after: None }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Log(error) => Self::from(error),
            EngineError::Artifact(error) => Self::from(error),
            EngineError::Recommend(error) => Self::from(error),
            EngineError::FeatureRequest { field, message } => Self::field(ProblemKind::InvalidRequest, &field, message),
            EngineError::FeatureRows(refused) => {
                Problem::new(ProblemKind::RecordsRefused, refused.to_string()).with_errors(refused.errors).into()
            }
            EngineError::Refused { version, reason } => {
                Self::new(ProblemKind::Conflict, format!("generation {version} is not installed: {reason}"))
            }
            EngineError::Stateless(_) => Self::new(ProblemKind::Conflict, error.to_string()),
            EngineError::Online(cause) => {
                tracing::warn!(error = %cause, "Redis did not help with a request");
                Self::overloaded("what this needs is not to be had from Redis at the moment; send it again in a moment")
            }
            EngineError::ItemsSource(error) => {
                tracing::debug!("{error}");
                Self::overloaded("the items' database cannot be asked now; try again in a moment")
            }
            EngineError::ReadOnly | EngineError::Settings(_) | EngineError::Features(_) | EngineError::Setup { .. } => {
                Self::internal(&error)
            }
        }
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::DiskFull { .. } => Self {
                retry_after: Some(30),
                ..Self::new(
                    ProblemKind::StorageFull,
                    "no space is left for the event log; nothing of this request was recorded; send it again when there is space",
                )
            },
            LogError::Busy { .. } => Self::overloaded("too many writes are waiting; send it again in a moment"),
            LogError::RecordTooLarge { index, bytes, limit } => Self::new(
                ProblemKind::TooLarge,
                format!("record {index} has {bytes} bytes, at most {limit} are allowed; nothing was recorded"),
            ),
            LogError::CallTooLarge { .. } => Self::new(ProblemKind::TooLarge, error.to_string()),
            other => {
                tracing::error!("{other}");
                Self::new(
                    ProblemKind::StorageFailed,
                    "the event log takes no writes; the server's log says why; send it again after a restart, events with an id are recorded once",
                )
            }
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::NoSuchVersion { .. } => Self::not_found(error.to_string()),
            ArtifactError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!("{error}");
                Self::new(
                    ProblemKind::StorageFull,
                    "the disk is full, so that nothing was changed; free space and send it again",
                )
            }
            ArtifactError::Io { .. } => Self::internal(&error),
            _ => Self::new(ProblemKind::Conflict, error.to_string()),
        }
    }
}

impl From<RecommendError> for ApiError {
    fn from(error: RecommendError) -> Self {
        let message = error.to_string();
        match error {
            RecommendError::Filter(error) => Self::field(ProblemKind::InvalidFilter, "filter", error.to_string()),
            RecommendError::Context(_) => Self::field(ProblemKind::InvalidRequest, "context", message),
            RecommendError::UnknownItem { .. } => Self::not_found(message),
            RecommendError::OutOfRange { what, .. } | RecommendError::TooMany { what, .. } => {
                Self::field(ProblemKind::InvalidRequest, what, message)
            }
            RecommendError::Id(_) => Self::new(ProblemKind::InvalidRequest, message),
            other => Self::internal(&other),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let message = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match message.split_once(": ") {
            Some((field, message)) => Self::field(ProblemKind::InvalidRequest, field, reword(message)),
            None => Self::new(ProblemKind::InvalidRequest, format!("query string: {message}")),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ProblemKind::InvalidRequest, format!("path: {}", rejection.body_text()))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a response that carries an [`ApiError`]; others stay as they are.
pub(crate) fn complete(mut response: Response, path: &str, request_id: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let mut problem = *error.problem;
    problem.instance = Some(path.to_owned());
    problem.request_id = Some(request_id.to_owned());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = body.into();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(tastemaker_api::problem::CONTENT_TYPE));
    headers.remove(header::CONTENT_LENGTH);
    response
}
