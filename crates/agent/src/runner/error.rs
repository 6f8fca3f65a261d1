//! Why the agent gave up.

use std::path::PathBuf;

use nautilus_monitor::schedule::ScheduleError;
use nautilus_proof::ProofError;
use tokio::task::JoinError;

use crate::attestation_service::{AttestationError, failed_findings};
use crate::control::ControlError;
use crate::enclave_manager::ManagerError;
use crate::enclave_process::EnclaveError;
use crate::endorsements::EndorsementsError;
use crate::identity::IdentityError;
use crate::key_manager::ProvisionError;
use crate::monitor::MonitoringError;
use crate::verifier_client::VerifierError;

/// Boots of the enclave on end that settle nothing, before the agent gives up.
pub(super) const MAX_FRUITLESS_BOOTS: u32 = 5;

/// Why the agent gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The node has no identity.
    #[error("node identity is not usable")]
    Identity(#[from] IdentityError),
    /// The enclave cannot be used.
    #[error("enclave is not usable")]
    Enclave(#[from] EnclaveError),
    /// The machine cannot be measured.
    #[error("machine cannot be measured")]
    Monitoring(#[from] MonitoringError),
    /// Samples have no schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Samples came faster than the enclave signs them.
    #[error("{0} samples wait for the enclave's signature, and there is no room for more")]
    BufferFull(usize),
    /// The verifier gave no success.
    #[error("verifier is not usable")]
    Verifier(#[from] VerifierError),
    /// The policy rejected the node's evidence.
    #[error("policy `{policy}` rejected the node's evidence: {findings}")]
    Rejected {
        /// Its name.
        policy: String,
        /// The findings that failed.
        findings: String,
    },
    /// The simulated platform's endorsements cannot be read.
    #[error(transparent)]
    Endorsements(#[from] EndorsementsError),
    /// The enclave cannot be managed.
    #[error("enclave cannot be managed")]
    Manager(#[source] ManagerError),
    /// There is no attestation.
    #[error("node is not attested")]
    Attestation(#[source] AttestationError),
    /// The enclave did not get the secrets that it is to have.
    #[error("enclave did not get its secrets, and does not run without (`key_provision_url`)")]
    Provision(#[source] Box<ProvisionError<AgentError>>),
    /// Commands cannot be taken.
    #[error("commands cannot be taken")]
    Control(#[from] ControlError),
    /// Evidence cannot be archived.
    #[error("cannot keep evidence {}", path.display())]
    KeepEvidence {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Work on another thread had no end.
    #[error("work in the background was cut short")]
    Background(#[from] JoinError),
    /// Its own proof does not verify: a bug, or an enclave that is not ours.
    #[error("proof does not verify")]
    Proof(#[from] ProofError),
    /// One boot after the other ended before it settled anything.
    #[error("enclave was lost {MAX_FRUITLESS_BOOTS} times on end; the last time: {last}")]
    TooManyBoots {
        /// What happened the last time.
        last: String,
    },
}

impl AgentError {
    /// What a rejecting appraisal, in JSON, means.
    pub(super) fn rejected(appraisal: &serde_json::Value) -> Self {
        Self::Rejected {
            policy: appraisal["policy"].as_str().unwrap_or_default().to_owned(),
            findings: failed_findings(appraisal),
        }
    }

    /// Whether trying the same again may have success, with the same enclave.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            error if error.loses_enclave() => false,
            Self::Verifier(error) => error.may_pass() || error.wants_new_challenge(),
            Self::Attestation(error) => error.may_pass(),
            Self::Provision(error) => match error.as_ref() {
                ProvisionError::Broker(error) => error.may_pass() || error.wants_new_challenge(),
                ProvisionError::Enclave(error) => error.may_pass(),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the enclave is lost, and another boot of it may do better.
    pub(super) fn loses_enclave(&self) -> bool {
        match self {
            Self::Enclave(error) => error.may_pass(),
            Self::Manager(error) => error.may_pass(),
            Self::Attestation(AttestationError::Lost(_)) => true,
            Self::Verifier(VerifierError::EnclaveAway(_)) => true,
            Self::Provision(error) => match error.as_ref() {
                ProvisionError::Enclave(error) => error.loses_enclave(),
                ProvisionError::Broker(error) => matches!(error, VerifierError::EnclaveAway(_)),
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<ManagerError> for AgentError {
    fn from(error: ManagerError) -> Self {
        match error {
            ManagerError::Enclave(error) => Self::Enclave(error),
            other => Self::Manager(other),
        }
    }
}

impl From<AttestationError> for AgentError {
    fn from(error: AttestationError) -> Self {
        match error {
            AttestationError::Verifier(error) => Self::Verifier(error),
            other => Self::Attestation(other),
        }
    }
}
