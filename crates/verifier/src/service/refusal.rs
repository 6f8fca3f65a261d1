//! Why a question has no success.

use nautilus_core::{NodeId, VerifyError};
use nautilus_ledger::{LedgerError, SubmitError};
use nautilus_proof::ProofError;

use crate::api::ApiError;
use crate::registry::{NotRegistered, RegistryError};
use crate::told::told;

/// Why a request had no success, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The question is none, or not of the type under which it came.
    #[error("{0}")]
    BadRequest(String),
    /// The question is for the settlement of a proof, and there is none in it.
    #[error("not a proof: {0}")]
    NotAProof(String),
    /// The challenge was not issued here, was answered before, or is long forgotten.
    #[error("challenge was not issued by this verifier, or was answered already: ask for a new one")]
    ChallengeUnknown,
    /// The node's wallet does not stand behind the enclave.
    #[error("the node's wallet did not sign what the evidence binds: this enclave is not its node's")]
    NotTheNodesWallet,
    /// So many challenges wait that no more are issued.
    #[error("too many challenges wait for an answer: try again in a minute")]
    Busy,
    /// The evidence does not verify.
    #[error(transparent)]
    Evidence(#[from] VerifyError),
    /// The proof does not verify.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The ledger's rules refuse it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry knows the node otherwise.
    #[error("{}", told(.0))]
    Registry(#[from] NotRegistered),
    /// A question about another node than the session's.
    #[error(
        "it is about node {found}, and this session is about node {session}: each node has a session of its own"
    )]
    AnotherNode {
        /// The session's.
        session: NodeId,
        /// The question's.
        found: NodeId,
    },
    /// The retired key did not sign its rotation.
    #[error("the retired key did not sign the notice of its rotation")]
    RotationInvalid,
    /// The ledger cannot be used at the moment.
    #[error("ledger cannot be used: {}", told(.0.as_ref()))]
    LedgerUnavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The policy rejected the evidence of a node that asked for secrets.
    #[error("policy rejected the evidence, so nothing is released: {0}")]
    NotAccepted(String),
    /// Nothing can be released.
    #[error("no secret is released: {0}")]
    NotReleased(&'static str),
    /// Something of ours failed.
    #[error("verifier failed: {0}")]
    Internal(String),
}

impl Refusal {
    /// The error as peers are told of it. What went wrong with the verifier's own files is its operator's to know, and
    /// the error's text has it: see [`Verifier::reporting`](super::Verifier::reporting).
    pub fn to_api(&self) -> ApiError {
        let kind = match self {
            Self::BadRequest(_) => "bad_request".to_owned(),
            Self::NotAProof(_) => "not_a_proof".to_owned(),
            Self::ChallengeUnknown => "challenge_unknown".to_owned(),
            Self::NotTheNodesWallet => "wallet_signature_invalid".to_owned(),
            Self::Busy => "busy".to_owned(),
            Self::Evidence(error) => tag(error),
            Self::Proof(error) => error.kind().to_owned(),
            Self::Ledger(error) => error.kind().to_owned(),
            Self::Registry(error) => match error {
                NotRegistered::PlatformChanged { .. } => "platform_changed",
                NotRegistered::KeyRetired { .. } => "key_retired",
                NotRegistered::PlatformFull { .. } => "platform_full",
                NotRegistered::KeyNotAdmitted { .. } => "key_not_admitted",
                NotRegistered::Unknown { .. } => "node_unknown",
                NotRegistered::Unavailable(RegistryError::Full { .. }) => "registry_full",
                NotRegistered::Unavailable(_) => "registry_unavailable",
            }
            .to_owned(),
            Self::AnotherNode { .. } => "another_node".to_owned(),
            Self::RotationInvalid => "rotation_invalid".to_owned(),
            Self::LedgerUnavailable(_) => "ledger_unavailable".to_owned(),
            Self::NotAccepted(_) => "not_accepted".to_owned(),
            Self::NotReleased(_) => "not_released".to_owned(),
            Self::Internal(_) => "internal".to_owned(),
        };
        let detail = match self {
            Self::Registry(NotRegistered::Unavailable(RegistryError::Full { limit, what, .. })) => {
                format!(
                    "registry has {limit} {what} and takes no more: its operator has to remove nodes that are gone"
                )
            }
            Self::Registry(NotRegistered::Unavailable(_)) => {
                "registry cannot be used at the moment".to_owned()
            }
            Self::LedgerUnavailable(_) => "ledger cannot be used at the moment".to_owned(),
            _ => self.to_string(),
        };
        ApiError { kind, detail }
    }

    /// Whether the fault is with the verifier's own files or machine, and its operator has to see to it.
    pub const fn is_own(&self) -> bool {
        matches!(
            self,
            Self::LedgerUnavailable(_) | Self::Registry(NotRegistered::Unavailable(_)) | Self::Internal(_)
        )
    }

    /// Whether nothing was done, and the same question may do better later.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Busy) || self.is_own()
    }
}

/// The name under which an error stands in JSON.
fn tag(error: &VerifyError) -> String {
    let value = serde_json::to_value(error).unwrap_or_default();
    value["kind"].as_str().unwrap_or("evidence_invalid").to_owned()
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(error) => Self::Ledger(error),
            other => Self::LedgerUnavailable(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn peers_are_told_of_no_path() {
        let path = PathBuf::from("/srv/verifier/registry.json");
        let (full, source) = (path.clone(), io::Error::other("/srv/verifier is gone"));
        let registry = |error| Refusal::Registry(NotRegistered::Unavailable(error));
        let ledger = || io::Error::other("/srv/verifier/ledger.log is gone");
        let cases = [
            (
                registry(RegistryError::Io { path, source }),
                "registry_unavailable",
            ),
            (
                registry(RegistryError::Full {
                    path: full,
                    limit: 10_000,
                    what: "nodes",
                }),
                "registry_full",
            ),
            (
                Refusal::LedgerUnavailable(Box::new(ledger())),
                "ledger_unavailable",
            ),
        ];
        for (refusal, kind) in cases {
            let api = refusal.to_api();
            assert_eq!(api.kind, kind);
            assert!(!api.detail.is_empty() && !api.detail.contains("/srv"), "{api:?}");
            assert!(refusal.to_string().contains("/srv/verifier"), "{refusal}");
            assert!(refusal.is_own() && refusal.may_pass(), "{kind}");
        }
    }
}
