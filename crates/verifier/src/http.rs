//! The verifier's HTTP API, version 1. No authentication yet: what is signed authenticates itself, but anybody
//! who reaches the port can make work, so it belongs on loopback until the attested channel carries it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use nautilus_core::MAX_EVIDENCE_FILE;
use nautilus_proof::MAX_PROOF;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::ApiError;
use crate::ear::key_set;
use crate::service::{Refusal, Verifier};
use crate::wall_clock::now;

/// Largest body of the small requests.
const MAX_SMALL: usize = 16 * 1024;

/// A body within its route's bound, or why there is none.
type Body = Result<Bytes, BytesRejection>;

/// The API's routes.
pub fn router(verifier: Arc<Verifier>) -> Router {
    Router::new()
        .route("/v1/verifier", get(facts))
        .route("/v1/keys", get(keys))
        .route(
            "/v1/nodes",
            post(register).layer(DefaultBodyLimit::max(MAX_SMALL)),
        )
        .route(
            "/v1/challenges",
            post(challenge).layer(DefaultBodyLimit::max(MAX_SMALL)),
        )
        .route(
            "/v1/attestations",
            post(attest).layer(DefaultBodyLimit::max(MAX_EVIDENCE_FILE)),
        )
        .route(
            "/v1/secrets",
            post(release).layer(DefaultBodyLimit::max(MAX_EVIDENCE_FILE)),
        )
        .route("/v1/proofs", post(settle).layer(DefaultBodyLimit::max(MAX_PROOF)))
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

async fn register(State(verifier): State<Arc<Verifier>>, body: Body) -> Response {
    answer(body, move |body| verifier.register(parse(body)?, now())).await
}

async fn challenge(State(verifier): State<Arc<Verifier>>, body: Body) -> Response {
    answer(body, move |body| verifier.challenge(&parse(body)?, now())).await
}

async fn attest(State(verifier): State<Arc<Verifier>>, body: Body) -> Response {
    answer(body, move |body| verifier.attest(&parse(body)?, now())).await
}

async fn release(State(verifier): State<Arc<Verifier>>, body: Body) -> Response {
    answer(body, move |body| verifier.release(&parse(body)?, now())).await
}

async fn settle(State(verifier): State<Arc<Verifier>>, body: Body) -> Response {
    answer(body, move |body| verifier.settle(body, now())).await
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "the API has no such path")
}

/// Does work on a request's body that checks signatures or writes to disk, on a thread of its own.
async fn answer<T: Serialize + Send + 'static>(
    body: Body,
    work: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return error(
                rejection.status(),
                "too_large",
                "the body is larger than this request may be",
            );
        }
        Err(rejection) => return error(rejection.status(), "bad_request", &rejection.body_text()),
    };
    let result = tokio::task::spawn_blocking(move || work(&body)).await;
    match result.unwrap_or_else(|error| Err(Refusal::Internal(error.to_string()))) {
        Ok(value) => axum::Json(value).into_response(),
        Err(refusal) => (status(&refusal), axum::Json(refusal.to_api())).into_response(),
    }
}

fn error(status: StatusCode, kind: &str, detail: &str) -> Response {
    let error = ApiError {
        kind: kind.to_owned(),
        detail: detail.to_owned(),
    };
    (status, axum::Json(error)).into_response()
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::ChallengeUnknown => StatusCode::CONFLICT,
        Refusal::Evidence(_) | Refusal::Proof(_) | Refusal::NotTheNodesWallet => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::NotAccepted(_) | Refusal::NotReleased(_) => StatusCode::FORBIDDEN,
        Refusal::Ledger(_) => StatusCode::CONFLICT,
        Refusal::Busy | Refusal::LedgerUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::BadRequest(error.to_string()))
}
