//! The agent's side of the verifier's HTTP API.

use std::time::Duration;

use nautilus_core::{ChallengeTerms, NodeId, Purpose};
use nautilus_proof::PerformanceProof;
use nautilus_verifier::api::{
    ApiError, AttestationOutcome, AttestationRequest, ChallengeRequest, RegisterRequest, Registered,
    Released, Settlement, VerifierFacts,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The specification's attestation timeout.
const DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer that is read: an appraisal with all its findings and claims is below 64 KiB.
const MAX_ANSWER: u64 = 1024 * 1024;
/// The verifier's name for a challenge that is used up, or that it forgot when it was started again.
const CHALLENGE_UNKNOWN: &str = "challenge_unknown";

/// Why the verifier gave no success.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// It cannot be reached; trying again may help.
    #[error("cannot reach the verifier at {url}: {why}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why not.
        why: String,
    },
    /// It answered that it cannot at the moment; trying again may help.
    #[error("verifier cannot do it at the moment ({}): {}", .0.kind, .0.detail)]
    Failed(ApiError),
    /// It refused, and would again.
    #[error("verifier refused ({}): {}", .0.kind, .0.detail)]
    Refused(ApiError),
    /// Its answer is not of the API.
    #[error("verifier at {url} answered something that is not of its API: {what}")]
    NotUnderstood {
        /// Where it is.
        url: String,
        /// What is wrong.
        what: String,
    },
}

impl VerifierError {
    /// Whether the same request may have success later.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failed(_))
    }

    /// Whether the challenge that was answered is used up, so that another may have success.
    pub(crate) fn wants_new_challenge(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind == CHALLENGE_UNKNOWN)
    }
}

/// A verifier at some URL. Cloning is cheap.
#[derive(Clone)]
pub struct VerifierClient {
    base: String,
    http: ureq::Agent,
}

impl VerifierClient {
    /// The verifier at `base`, such as `http://127.0.0.1:8471`: nowhere else, whatever the environment says of
    /// proxies and the answer of other places.
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(DEADLINE))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            http: config.into(),
        }
    }

    /// Who the verifier is.
    ///
    /// # Errors
    /// If it gives no success; the same for all below.
    pub async fn facts(&self) -> Result<VerifierFacts, VerifierError> {
        self.call("/v1/verifier", None).await
    }

    /// Registers a node; once more does no harm.
    ///
    /// # Errors
    /// If it gives no success.
    pub async fn register(&self, request: &RegisterRequest) -> Result<Registered, VerifierError> {
        self.post("/v1/nodes", request).await
    }

    /// Asks for a challenge.
    ///
    /// # Errors
    /// If it gives no success.
    pub async fn challenge(&self, node: NodeId, purpose: Purpose) -> Result<ChallengeTerms, VerifierError> {
        self.post("/v1/challenges", &ChallengeRequest { node, purpose })
            .await
    }

    /// Has evidence verified and appraised.
    ///
    /// # Errors
    /// If it gives no success; a rejecting appraisal is one.
    pub async fn attest(&self, request: &AttestationRequest) -> Result<AttestationOutcome, VerifierError> {
        self.post("/v1/attestations", request).await
    }

    /// Has the evidence of an enclave appraised, and gets the secrets that are released to it.
    ///
    /// # Errors
    /// If it gives no success; a rejecting appraisal is none.
    pub async fn release(&self, request: &AttestationRequest) -> Result<Released, VerifierError> {
        self.post("/v1/secrets", request).await
    }

    /// Has a proof verified and settled.
    ///
    /// # Errors
    /// If it gives no success.
    pub async fn settle(&self, proof: &PerformanceProof) -> Result<Settlement, VerifierError> {
        self.post("/v1/proofs", proof).await
    }

    async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        body: &impl Serialize,
    ) -> Result<T, VerifierError> {
        let body = serde_json::to_vec(body).map_err(|error| self.not_understood(&error))?;
        self.call(path, Some(body)).await
    }

    /// A GET, or a POST of `body`, on a thread of its own: the client blocks.
    async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        body: Option<Vec<u8>>,
    ) -> Result<T, VerifierError> {
        let client = self.clone();
        let unreachable = |why: String| VerifierError::Unreachable {
            url: self.base.clone(),
            why,
        };
        tokio::task::spawn_blocking(move || client.call_blocking(path, body.as_deref()))
            .await
            .map_err(|error| unreachable(error.to_string()))?
    }

    fn call_blocking<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<T, VerifierError> {
        let url = format!("{}{path}", self.base);
        let unreachable = |error: ureq::Error| VerifierError::Unreachable {
            url: url.clone(),
            why: error.to_string(),
        };
        let sent = match body {
            Some(body) => self.http.post(&url).content_type("application/json").send(body),
            None => self.http.get(&url).call(),
        };
        let mut answer = sent.map_err(unreachable)?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return serde_json::from_slice(&text).map_err(|error| self.not_understood(&error));
        }
        match serde_json::from_slice::<ApiError>(&text) {
            Ok(error) if status.is_client_error() => Err(VerifierError::Refused(error)),
            Ok(error) if status.is_server_error() => Err(VerifierError::Failed(error)),
            // Something between us and the verifier, such as a gateway, answered in its place.
            Err(_) if status.is_server_error() => Err(VerifierError::Failed(ApiError {
                kind: format!("status {status}"),
                detail: "it did not say why".to_owned(),
            })),
            _ => Err(VerifierError::NotUnderstood {
                url,
                what: format!("status {status}"),
            }),
        }
    }

    fn not_understood(&self, error: &serde_json::Error) -> VerifierError {
        VerifierError::NotUnderstood {
            url: self.base.clone(),
            what: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;
    use crate::fake_verifier::serve;

    async fn facts(answer: axum::routing::MethodRouter) -> Result<VerifierFacts, VerifierError> {
        let url = serve(axum::Router::new().route("/v1/verifier", answer)).await;
        VerifierClient::new(&url).facts().await
    }

    fn failing(status: StatusCode, kind: &str) -> axum::routing::MethodRouter {
        let error = ApiError {
            kind: kind.to_owned(),
            detail: "because".to_owned(),
        };
        get(async move || (status, Json(error)))
    }

    #[tokio::test]
    async fn an_error_that_was_answered_is_not_one_of_the_network() {
        let busy = facts(failing(StatusCode::SERVICE_UNAVAILABLE, "busy"))
            .await
            .unwrap_err();
        assert!(
            matches!(&busy, VerifierError::Failed(error) if error.kind == "busy"),
            "{busy}"
        );
        assert!(busy.may_pass());
        let gateway = facts(get(async || (StatusCode::BAD_GATEWAY, "<html>")))
            .await
            .unwrap_err();
        assert!(matches!(&gateway, VerifierError::Failed(_)), "{gateway}");
        let ledger = facts(failing(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable"))
            .await
            .unwrap_err();
        assert_eq!(
            ledger.to_string(),
            "verifier cannot do it at the moment (ledger_unavailable): because"
        );
        let refused = facts(failing(StatusCode::CONFLICT, "challenge_unknown"))
            .await
            .unwrap_err();
        assert!(refused.wants_new_challenge() && !refused.may_pass(), "{refused}");
        let gone = VerifierClient::new("http://127.0.0.1:1")
            .facts()
            .await
            .unwrap_err();
        assert!(matches!(&gone, VerifierError::Unreachable { .. }), "{gone}");
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere() {
        let elsewhere =
            serve(axum::Router::new().route("/v1/verifier", failing(StatusCode::CONFLICT, "elsewhere")))
                .await;
        let answer = get(async move || Redirect::temporary(&format!("{elsewhere}/v1/verifier")));
        let error = facts(answer).await.unwrap_err();
        assert!(
            matches!(&error, VerifierError::NotUnderstood { what, .. } if what.contains("307")),
            "{error}"
        );
    }
}
