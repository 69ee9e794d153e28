//! The one error shape: problem details (RFC 9457), with the request's id and, where single fields are wrong, one entry
//! for each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What kind of problem it is: its last part of `type`, its title and its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The request is not what the API takes.
    InvalidRequest,
    /// The filter expression does not parse or does not fit the item attributes.
    InvalidFilter,
    /// No API key, or an unknown one.
    Unauthenticated,
    /// The key lacks the scope, or the request does not come from where it must.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The present state does not allow it.
    Conflict,
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not JSON by its content type.
    UnsupportedMediaType,
    /// None of the records fits the project.
    RecordsRefused,
    /// A fault of the server.
    Internal,
    /// Too much work at once.
    Overloaded,
    /// It took too long.
    Timeout,
    /// The disk is full; nothing was written.
    StorageFull,
    /// The log cannot be written.
    StorageFailed,
}

impl ProblemKind {
    /// All of them, for the documentation and tests.
    pub const ALL: [Self; 15] = [
        Self::InvalidRequest,
        Self::InvalidFilter,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RecordsRefused,
        Self::Internal,
        Self::Overloaded,
        Self::Timeout,
        Self::StorageFull,
        Self::StorageFailed,
    ];

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::InvalidFilter => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RecordsRefused => 422,
            Self::Internal => 500,
            Self::Overloaded | Self::StorageFailed => 503,
            Self::Timeout => 504,
            Self::StorageFull => 507,
        }
    }

    /// A short name for programs, stable across releases.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::InvalidFilter => "invalid-filter",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::RecordsRefused => "records-refused",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::StorageFull => "storage-full",
            Self::StorageFailed => "storage-failed",
        }
    }

    /// A short sentence for people, the same for every occurrence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::InvalidFilter => "The filter is not valid",
            Self::Unauthenticated => "An API key is needed",
            Self::Forbidden => "This is not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::Conflict => "The present state does not allow this",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::RecordsRefused => "None of the records was accepted",
            Self::Internal => "The server failed",
            Self::Overloaded => "The server is busy",
            Self::Timeout => "The request took too long",
            Self::StorageFull => "The disk is full",
            Self::StorageFailed => "The event log cannot be written",
        }
    }
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where it is: `events[3].value`, `limit`.
    #[schema(example = "events[3].type")]
    pub field: String,
    /// What is wrong, and what to do.
    #[schema(example = "unknown event type 'clik'; did you mean 'click'?")]
    pub message: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, message } = self;
        // Many messages name the field themselves.
        if message.starts_with(field) { f.write_str(message) } else { write!(f, "{field}: {message}") }
    }
}

/// Problem details (RFC 9457), sent as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem for programs: `urn:tastemaker:problem:` and a short name.
    #[serde(rename = "type")]
    #[schema(example = "urn:tastemaker:problem:invalid-request")]
    pub kind: String,
    /// The kind for people.
    #[schema(example = "The request is not valid")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
    /// The path that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/recommendations")]
    pub instance: Option<String>,
    /// The id of the request, as in the `x-request-id` header and in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The wrong fields, where single ones are to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of `kind`; `detail` says what happened and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:tastemaker:problem:{}", kind.slug()),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            instance: None,
            request_id: None,
            errors: Vec::new(),
        }
    }

    /// A problem with one field of the request.
    pub fn field(kind: ProblemKind, field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), message: message.into() };
        Self::new(kind, error.to_string()).with_errors(vec![error])
    }

    /// With the wrong fields.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_the_standard_says() {
        let problem = Problem::field(ProblemKind::InvalidRequest, "limit", "must be 1 to 1000");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:tastemaker:problem:invalid-request",
                "title": "The request is not valid",
                "status": 400,
                "detail": "limit: must be 1 to 1000",
                "errors": [{"field": "limit", "message": "must be 1 to 1000"}],
            })
        );
    }

    #[test]
    fn slugs_are_unique() {
        let mut slugs: Vec<_> = ProblemKind::ALL.iter().map(|k| k.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
    }
}
