//! Why a verifier gave no success.

use nautilus_channel::{Address, ChannelError, ClientError, Fault};
use nautilus_core::{AppraisalVerdict, PublicKey, Purpose};
use nautilus_verifier::api::{ApiError, AttestationOutcome};

use super::VerifierAddress;
use super::presenter::Failure;
use crate::attestation_service::rejection;

/// The verifier's name for a challenge that is used up, or that it forgot when it was started again.
const CHALLENGE_UNKNOWN: &str = "challenge_unknown";
/// The channel's name for an appraisal that rejects.
const NOT_ACCEPTED: &str = "not_accepted";
/// The verifier's names for what lies with it, and may be over in a moment.
const PASSING: [&str; 7] = [
    "busy",
    "queue_full",
    "ledger_unavailable",
    "registry_unavailable",
    "registry_full",
    "internal",
    "shutting_down",
];

/// What a client knows beside the error.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// What failed in the node's own part of the handshake.
    pub(super) own: Option<Failure>,
    /// Whether there was a session with the verifier's key in this run, and there is none now. Then who answers without
    /// that key is somebody in between, who may go, and not a wrong address.
    pub(super) lost: bool,
}

/// Why the verifier gave no success.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// It cannot be reached; trying again may help.
    #[error("cannot reach the verifier at {address}: {why}")]
    Unreachable {
        /// Where it should be.
        address: Address,
        /// Why not.
        why: String,
    },
    /// It answered that it cannot at the moment; trying again may help.
    #[error("verifier cannot do it at the moment ({}): {}", .0.kind, .0.detail)]
    Failed(ApiError),
    /// It refused, and would again.
    #[error("verifier refused ({}): {}", .0.kind, .0.detail)]
    Refused(ApiError),
    /// It ended the channel for a reason that would end the next one too. No question was answered by that.
    #[error("verifier refused ({}): {}", .0.kind, .0.detail)]
    Ended(ApiError),
    /// Its policy rejects the evidence of the session: there is no channel.
    #[error("{}", rejection(&.outcome.appraisal))]
    Rejected {
        /// What came of the appraisal.
        outcome: Box<AttestationOutcome>,
    },
    /// Somebody else is there.
    #[error(
        "who answers at {address} is not the verifier with the key {key} ({why}): set `verifier_key`, or \
         `key_provision_key` for a key broker, to the key that the verifier shows when it starts"
    )]
    WrongKey {
        /// Where it should be.
        address: Address,
        /// The key that it should have.
        key: PublicKey,
        /// How it is not.
        why: &'static str,
    },
    /// No channel opens, and would not the next time.
    #[error("no channel to the verifier at {address} ({}): {why}", why.kind())]
    NoChannel {
        /// Where it is.
        address: Address,
        /// Why not.
        why: ChannelError,
    },
    /// The node's enclave is not there to vouch for the session. Another boot of it may do better.
    #[error("no channel to the verifier without the node's enclave: {0}")]
    EnclaveAway(String),
    /// The node's enclave does not vouch for the session.
    #[error("no channel to the verifier: the node's enclave does not vouch for it: {0}")]
    NotPresented(String),
    /// Its challenge is another verifier's, for another node, or for another purpose: who answers it would answer that
    /// one.
    #[error(
        "the challenge of the verifier at {address} is not its own, for this node and the purpose `{}`",
        purpose.as_str()
    )]
    ForeignChallenge {
        /// Where it is.
        address: Address,
        /// What was asked for.
        purpose: Purpose,
    },
    /// Its answer is none.
    #[error("verifier at {address} answered something that is no answer: {what}")]
    NotUnderstood {
        /// Where it is.
        address: Address,
        /// What is wrong.
        what: String,
    },
    /// Questions cannot be told apart.
    #[error("no randomness: {0}")]
    NoRandomness(String),
    /// The node stops.
    #[error("the channel to the verifier was closed: the node stops")]
    Closed,
}

impl VerifierError {
    /// Whether the same request may have success later.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Failed(_) | Self::EnclaveAway(_)
        )
    }

    /// Whether the challenge that was answered is used up, so that another may have success.
    pub(crate) fn wants_new_challenge(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind == CHALLENGE_UNKNOWN)
    }

    /// What a channel's failure means, as things stand.
    pub(super) fn of(error: ClientError, at: &VerifierAddress, standing: Standing) -> Self {
        let Standing { own, lost } = standing;
        let address = at.address.clone();
        match error {
            ClientError::Declined(fault) => Self::answered(fault),
            ClientError::NotInTime { .. } => Self::Unreachable {
                why: error.to_string(),
                address,
            },
            ClientError::Channel(ChannelError::Refused(fault)) if fault.kind == NOT_ACCEPTED => {
                match AttestationOutcome::decode(&fault.note) {
                    Ok(outcome) if outcome.verdict == AppraisalVerdict::Rejected => Self::Rejected {
                        outcome: Box::new(outcome),
                    },
                    Ok(_) => Self::NotUnderstood {
                        address,
                        what: "its appraisal accepts, and it opens no channel".to_owned(),
                    },
                    // It may reject without an appraisal.
                    Err(_) if fault.note.is_empty() => Self::Ended(fault.into()),
                    Err(error) => Self::NotUnderstood {
                        address,
                        what: format!("its appraisal: {error}"),
                    },
                }
            }
            ClientError::Channel(ChannelError::Refused(fault)) => {
                let why = ChannelError::Refused(fault.clone());
                if why.may_pass() {
                    let why = why.to_string();
                    Self::Unreachable { address, why }
                } else if passes(&fault) {
                    Self::Failed(fault.into())
                } else {
                    Self::Ended(fault.into())
                }
            }
            ClientError::Channel(ChannelError::NotPresented(why)) => match own {
                Some(Failure::Away(why)) => Self::EnclaveAway(why),
                Some(Failure::Refused(why)) => Self::NotPresented(why),
                None => Self::NotPresented(why),
            },
            ClientError::Channel(why) if lost || why.may_pass() => Self::Unreachable {
                address,
                why: why.to_string(),
            },
            ClientError::Channel(ChannelError::KeyUnexpected(why)) => Self::WrongKey {
                address,
                key: at.key,
                why,
            },
            ClientError::Channel(ChannelError::PayloadInvalid { what, .. }) => {
                Self::NotUnderstood { address, what }
            }
            ClientError::Channel(why) => Self::NoChannel { address, why },
            ClientError::Closed => Self::Closed,
            // A kind that the channel may have in a later version.
            other => Self::Unreachable {
                why: other.to_string(),
                address,
            },
        }
    }

    fn answered(fault: Fault) -> Self {
        if passes(&fault) {
            Self::Failed(fault.into())
        } else {
            Self::Refused(fault.into())
        }
    }
}

fn passes(fault: &Fault) -> bool {
    PASSING.contains(&fault.kind.as_str())
}
