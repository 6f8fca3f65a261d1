//! The verifier's HTTP API, version 1. No authentication yet: what is signed authenticates itself, but anybody
//! who reaches the port can make work, so it belongs on loopback until the attested channel carries it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use nautilus_core::{MAX_EVIDENCE_FILE, UnixMillis};
use nautilus_proof::MAX_PROOF;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::{Refusal, Verifier};

/// Largest body of the small requests.
const MAX_SMALL: usize = 16 * 1024;

/// The API's routes.
pub fn router(verifier: Arc<Verifier>) -> Router {
    Router::new()
        .route("/v1/verifier", get(facts))
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
        .route("/v1/proofs", post(settle).layer(DefaultBodyLimit::max(MAX_PROOF)))
        .with_state(verifier)
}

async fn facts(State(verifier): State<Arc<Verifier>>) -> Response {
    axum::Json(verifier.facts()).into_response()
}

async fn register(State(verifier): State<Arc<Verifier>>, body: Bytes) -> Response {
    answer(move || verifier.register(parse(&body)?, now())).await
}

async fn challenge(State(verifier): State<Arc<Verifier>>, body: Bytes) -> Response {
    answer(move || verifier.challenge(&parse(&body)?, now())).await
}

async fn attest(State(verifier): State<Arc<Verifier>>, body: Bytes) -> Response {
    answer(move || verifier.attest(&body, now())).await
}

async fn settle(State(verifier): State<Arc<Verifier>>, body: Bytes) -> Response {
    answer(move || verifier.settle(&body, now())).await
}

/// Does work that checks signatures or writes to disk on a thread of its own.
async fn answer<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Response {
    let result = tokio::task::spawn_blocking(work).await;
    match result.unwrap_or_else(|error| Err(Refusal::Internal(error.to_string()))) {
        Ok(value) => axum::Json(value).into_response(),
        Err(refusal) => (status(&refusal), axum::Json(refusal.to_api())).into_response(),
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::ChallengeUnknown => StatusCode::CONFLICT,
        Refusal::Evidence(_) | Refusal::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Ledger(_) => StatusCode::CONFLICT,
        Refusal::Busy | Refusal::LedgerUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::BadRequest(error.to_string()))
}

fn now() -> UnixMillis {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    UnixMillis(u64::try_from(passed).unwrap_or(u64::MAX))
}
