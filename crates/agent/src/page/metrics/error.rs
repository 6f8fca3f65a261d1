//! What a request is told when it gets no answer: always JSON with a kind for programs and a detail for people.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::board::MAX_AT_ONCE;
use super::history::HistoryError;
use super::question::{MAX_QUERY, MAX_RANGE_DAYS, MAX_SELECTOR};

/// Why a request gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    #[error("the query is {length} bytes long; at most {MAX_QUERY} are read")]
    TooLong { length: usize },
    #[error("the query is not percent-encoded UTF-8")]
    NotUtf8,
    #[error("the query has the key `{key}`, which this route does not know; it knows {known}")]
    UnknownKey { key: String, known: String },
    #[error("the query has the key `{key}` twice")]
    RepeatedKey { key: &'static str },
    #[error("the query lacks the key `{key}`")]
    MissingKey { key: &'static str },
    #[error("`{key}` is {expected}")]
    BadValue {
        key: &'static str,
        expected: &'static str,
    },
    #[error("`from` must be before `to`, by at most {MAX_RANGE_DAYS} days")]
    BadRange,
    #[error("`series` is {length} bytes long; at most {MAX_SELECTOR} are read")]
    LongSelector { length: usize },
    #[error("`series` is no selector: {0}")]
    BadSelector(String),
    #[error("the node answers {MAX_AT_ONCE} others; ask again")]
    Busy,
    #[error("there is no history yet: the node's store is not open, or nothing was measured yet")]
    Starting,
    #[error("the store is locked: {0}")]
    Locked(String),
    #[error("the history cannot be read: {0}")]
    Unreadable(String),
    #[error("the answer could not be made")]
    Broken,
}

impl ApiError {
    const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::UnknownKey { .. } => "unknown_key",
            Self::RepeatedKey { .. } => "repeated_key",
            Self::MissingKey { .. } => "missing_key",
            Self::BadValue { .. } => "bad_value",
            Self::BadRange => "bad_range",
            Self::LongSelector { .. } | Self::BadSelector(_) => "bad_selector",
            Self::Busy => "busy",
            Self::Starting => "starting",
            Self::Locked(_) => "locked",
            Self::Unreadable(_) => "unreadable",
            Self::Broken => "broken",
        }
    }

    /// The status, and the seconds after which to come again where that helps.
    const fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some("1")),
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, Some("5")),
            Self::Locked(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("60")),
            Self::Unreadable(_) | Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, None),
            _ => (StatusCode::BAD_REQUEST, None),
        }
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Selector(why) => Self::BadSelector(why),
            HistoryError::Unreadable(why) => Self::Unreadable(why),
            HistoryError::Io(_) => Self::Broken,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry) = self.status();
        let body = json!({ "error": { "kind": self.kind(), "detail": self.to_string() } });
        let cache = [(header::CACHE_CONTROL, "no-store")];
        match retry {
            Some(seconds) => (status, cache, [(header::RETRY_AFTER, seconds)], Json(body)).into_response(),
            None => (status, cache, Json(body)).into_response(),
        }
    }
}
