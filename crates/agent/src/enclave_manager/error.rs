//! Why an enclave cannot be managed as was asked.

use super::{EnclaveName, EnclaveStatus, IllegalTransition, NameError};
use crate::enclave_process::EnclaveError;

/// Why an enclave cannot be managed as was asked, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// A text that names no enclave.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An enclave has this name already.
    #[error("an enclave named `{name}` is there already: choose another name, or terminate that one first")]
    NameTaken {
        /// The name.
        name: EnclaveName,
    },
    /// No enclave has this name or id.
    #[error("there is no enclave `{name}`: `nautilus enclave list` shows those that are there")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// There are as many as there may be.
    #[error("{max} enclaves are there, and no more may be: terminate one first")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// A change of state that there is not.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// An enclave that nobody can ask now.
    #[error("enclave `{name}` is {status}: wait until it runs")]
    NotRunning {
        /// Its name.
        name: EnclaveName,
        /// Its state.
        status: EnclaveStatus,
    },
    /// The node's own enclave is not terminated by accident.
    #[error(
        "`node` is the node's own enclave, and the node's job ends with it: add --force if that is meant"
    )]
    NeedsForce,
    /// The image must not be started.
    #[error("image is not started: {0}")]
    Image(String),
    /// Evidence says that something else runs than what was started.
    #[error("enclave `{name}` measures {register} {found}, and its image {expected}: something else runs")]
    Measured {
        /// Its name.
        name: EnclaveName,
        /// The measurement register.
        register: String,
        /// What the image measures.
        expected: String,
        /// What the evidence says.
        found: String,
    },
    /// The enclave cannot be used.
    #[error("enclave is not usable")]
    Enclave(#[from] EnclaveError),
    /// It did not come to an end in time.
    #[error("enclave `{name}` did not do it within {seconds} s: `nautilus enclave list` shows its state")]
    NoAnswer {
        /// Its name.
        name: EnclaveName,
        /// How long was waited.
        seconds: u64,
    },
    /// It is not attested.
    #[error("enclave `{name}` is not attested: {why}")]
    NotAttested {
        /// Its name.
        name: EnclaveName,
        /// Why not.
        why: String,
    },
    /// Its keys were not replaced, and are what they were.
    #[error("keys of enclave `{name}` were not rotated: {why}")]
    NotRotated {
        /// Its name.
        name: EnclaveName,
        /// Why not.
        why: String,
    },
    /// What it says of its new keys is not true of a rotation.
    #[error("enclave `{name}` rotated its keys without the word of the old ones: {what}")]
    BadRotation {
        /// Its name.
        name: EnclaveName,
        /// What does not hold.
        what: &'static str,
    },
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

impl ManagerError {
    /// The error's name on the control socket.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "name_invalid",
            Self::NameTaken { .. } => "name_taken",
            Self::Unknown { .. } => "enclave_unknown",
            Self::TooMany { .. } => "too_many_enclaves",
            Self::Transition(_) => "illegal_transition",
            Self::NotRunning { .. } => "not_running",
            Self::NeedsForce => "needs_force",
            Self::Image(_) => "image_refused",
            Self::Measured { .. } => "measurement_mismatch",
            Self::Enclave(_) => "enclave_unusable",
            Self::NoAnswer { .. } => "timeout",
            Self::NotAttested { .. } => "not_attested",
            Self::NotRotated { .. } => "not_rotated",
            Self::BadRotation { .. } => "rotation_invalid",
            Self::Random(_) => "internal",
        }
    }

    /// Whether another boot may have success where this one had none.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Enclave(error) => error.may_pass(),
            Self::NoAnswer { .. } | Self::NotAttested { .. } => true,
            _ => false,
        }
    }
}
