//! Why there is no response.

use crate::attestation_service::limits::{ANSWER_SECONDS, ENQUEUE_SECONDS, MAX_CALLERS, QUEUE};
use crate::verifier_client::VerifierError;

/// Why there is no response, by who is at fault. Cloned for everybody who waits for the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// The request has not the right form.
    #[error("request is not as it should be: {0}")]
    BadRequest(String),
    /// No enclave has this id or name, or none that can be asked now.
    #[error("{what}")]
    Enclave {
        /// The error's name.
        kind: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Another policy is in force than the one that was asked for.
    #[error("policy `{asked}` is not in force here: ask for `{name}` ({id}), or for none")]
    PolicyUnknown {
        /// What was asked for.
        asked: String,
        /// Name of the policy in force.
        name: String,
        /// Its id.
        id: String,
    },
    /// Back-pressure: the queue stayed full.
    #[error(
        "attestation queue is full: {QUEUE} requests waited for {ENQUEUE_SECONDS} s; ask again later, or ask less often"
    )]
    QueueFull,
    /// Back-pressure: more callers wait than may.
    #[error("more than {MAX_CALLERS} callers wait for attestation: ask again later, or ask less often")]
    TooManyCallers,
    /// There was no answer in time.
    #[error("attestation timed out: there was no answer within {ANSWER_SECONDS} s; ask again later")]
    Timeout,
    /// The service ended.
    #[error("attestation service has ended: the node stops")]
    Stopped,
    /// The enclave refused.
    #[error("enclave refused: {0}")]
    Refused(String),
    /// The enclave was lost on the way; it is booted again.
    #[error("enclave was lost: {0}; ask again once it runs")]
    Lost(String),
    /// The verifier gave no answer.
    #[error(transparent)]
    Verifier(VerifierError),
    /// Evidence says that something else runs than what was started.
    #[error("{0}")]
    Measured(String),
    /// Something of ours failed.
    #[error("attestation failed: {0}")]
    Internal(String),
}

impl AttestationError {
    /// The error's name on the control socket.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Enclave { kind, .. } => kind,
            Self::PolicyUnknown { .. } => "policy_unknown",
            Self::QueueFull => "queue_full",
            Self::TooManyCallers => "too_many_callers",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Refused(_) => "enclave_refused",
            Self::Lost(_) => "enclave_lost",
            Self::Verifier(VerifierError::Refused(error) | VerifierError::Ended(error)) => &error.kind,
            Self::Verifier(VerifierError::Rejected { .. }) => "not_accepted",
            Self::Verifier(_) => "verifier_unusable",
            Self::Measured(_) => "measurement_mismatch",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the same may have success later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::QueueFull | Self::TooManyCallers | Self::Timeout => true,
            Self::Verifier(error) => error.may_pass() || error.wants_new_challenge(),
            _ => false,
        }
    }
}
