//! What the verifier says over HTTP: public facts, which everybody may read and nobody can change. Nothing is asked of it
//! this way; nodes come through the attested channel.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::api::ApiError;
use crate::ear::key_set;
use crate::service::Verifier;

/// The API's routes.
pub fn router(verifier: Arc<Verifier>) -> Router {
    Router::new()
        .route("/v1/verifier", get(facts))
        .route("/v1/keys", get(keys))
        .method_not_allowed_fallback(async || {
            error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path takes another method",
            )
        })
        .route("/v1/", any(not_found))
        .route("/v1/{*path}", any(not_found))
        .with_state(verifier)
}

async fn facts(State(verifier): State<Arc<Verifier>>) -> Response {
    axum::Json(verifier.facts()).into_response()
}

/// What verifies this verifier's signed attestation results. Its name is the set's own (RFC 7517 §8.5.2).
async fn keys(State(verifier): State<Arc<Verifier>>) -> Response {
    let set = key_set(&verifier.public_key());
    ([(CONTENT_TYPE, "application/jwk-set+json")], set.to_string()).into_response()
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "the API has no such path")
}

fn error(status: StatusCode, kind: &str, detail: &str) -> Response {
    let error = ApiError {
        kind: kind.to_owned(),
        detail: detail.to_owned(),
    };
    (status, axum::Json(error)).into_response()
}
