//! What a node presents to open a channel: evidence of its enclave, made for that very session, and the wallet's word
//! that enclave and node are its own.

use std::sync::{Arc, Mutex, PoisonError};

use nautilus_channel::{Present, PresentedEvidence, Presenter, Working};
use nautilus_core::{Evidence, EvidenceFile, NodeId, PublicKey, Purpose};
use nautilus_enclave::{AttestedEvidence, Identity, Reply, Request};
use nautilus_proof::Registration;
use nautilus_verifier::api::Introduction;
use nautilus_verifier::told;

use crate::clock::NodeClock;
use crate::enclave_manager::{EnclaveManager, EnclaveName, ManagerError, is_suspended};
use crate::enclave_process::{EnclaveError, bound_user_data};
use crate::endorsements::{EndorsementsError, with_simulated};
use crate::identity::NodeIdentity;

/// Has the node's enclave vouch for the agent's sessions with one verifier.
///
/// It does not hold the enclave's `attesting`: evidence for a session does not become the enclave's newest, and who
/// holds that lock may be waiting for the very answer for which the session is opened.
pub(crate) struct NodePresenter {
    manager: EnclaveManager,
    identity: Arc<NodeIdentity>,
    verifier: PublicKey,
    presented: Arc<Presented>,
}

/// What the last handshake came to, as far as this end goes.
#[derive(Default)]
pub(crate) struct Presented(Mutex<Last>);

#[derive(Default)]
struct Last {
    file: Option<EvidenceFile>,
    failure: Option<Failure>,
}

/// Why nothing was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The enclave is not there, or sleeps.
    Away(String),
    /// It does not vouch.
    Refused(String),
}

/// Why the node's enclave does not vouch.
#[derive(Debug, thiserror::Error)]
enum VouchError {
    #[error(transparent)]
    Manager(#[from] ManagerError),
    #[error(transparent)]
    Enclave(#[from] EnclaveError),
    #[error(transparent)]
    Endorsements(#[from] EndorsementsError),
    #[error("the challenge names another verifier: {0}")]
    ForeignChallenge(PublicKey),
    #[error("the evidence binds another session")]
    OtherSession,
    #[error("the introduction has no encoding: {0}")]
    Introduction(String),
}

impl Presented {
    pub(super) fn file(&self) -> Option<EvidenceFile> {
        self.lock().file.clone()
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// Forgets the evidence: another handshake starts, which may fail before it presents any.
    pub(super) fn forget(&self) {
        self.lock().file = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodePresenter {
    /// For sessions with the verifier of this key.
    pub(crate) fn new(manager: EnclaveManager, identity: Arc<NodeIdentity>, verifier: PublicKey) -> Self {
        Self {
            manager,
            identity,
            verifier,
            presented: Arc::default(),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.identity.node()
    }

    pub(super) fn presented(&self) -> Arc<Presented> {
        Arc::clone(&self.presented)
    }

    async fn vouched(&self, present: Present) -> Result<(PresentedEvidence, EvidenceFile), VouchError> {
        if present.terms.verifier != self.verifier {
            return Err(VouchError::ForeignChallenge(present.terms.verifier));
        }
        let running = self.manager.entry(&EnclaveName::node())?.running()?;
        let request = Request::Vouch {
            terms: Box::new(present.terms.clone()),
            session: Box::new(present.session.clone()),
        };
        let Reply::Vouched(attested) = running.link.request(request).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let simulated = self.manager.launch().simulated.as_deref();
        let endorsements = with_simulated(attested.endorsements.clone(), running.identity.tee, simulated)?;
        let accompanying = introduction(
            &self.identity,
            self.verifier,
            &running.identity,
            &attested,
            &present,
        )?;
        let documents = endorsements.0.iter();
        let presented = PresentedEvidence {
            tee: running.identity.tee,
            evidence: attested.evidence.clone(),
            user_data: attested.user_data.clone(),
            event_log: attested.event_log.clone(),
            endorsements: documents.map(|one| (one.kind, one.bytes.clone())).collect(),
            accompanying,
        };
        let file = EvidenceFile {
            evidence: Evidence {
                tee: running.identity.tee,
                bytes: attested.evidence,
                user_data: Some(attested.user_data),
                event_log: attested.event_log,
            },
            challenge: present.terms.challenge(),
            endorsements,
            created_at: NodeClock::wall(),
        };
        Ok((presented, file))
    }
}

impl Presenter for NodePresenter {
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>> {
        Box::pin(async move {
            let vouched = self.vouched(present).await;
            let mut last = self.presented.lock();
            match vouched {
                Ok((presented, file)) => {
                    *last = Last {
                        file: Some(file),
                        failure: None,
                    };
                    Ok(presented)
                }
                Err(error) => {
                    let why = told(&error);
                    last.failure = Some(match error.is_away() {
                        true => Failure::Away(why.clone()),
                        false => Failure::Refused(why.clone()),
                    });
                    Err(why)
                }
            }
        })
    }
}

impl VouchError {
    /// Whether the enclave is not there, and may be again.
    fn is_away(&self) -> bool {
        let enclave = match self {
            Self::Manager(ManagerError::NotRunning { .. } | ManagerError::Unknown { .. }) => return true,
            Self::Manager(ManagerError::Enclave(error)) | Self::Enclave(error) => error,
            _ => return false,
        };
        enclave.may_pass() || is_suspended(enclave)
    }
}

/// What makes evidence of a session that of a node. The wallet signs for nothing but what its enclave should bind.
fn introduction(
    identity: &NodeIdentity,
    verifier: PublicKey,
    enclave: &Identity,
    attested: &AttestedEvidence,
    present: &Present,
) -> Result<Vec<u8>, VouchError> {
    let bound = bound_user_data(enclave, &attested.user_data, identity.node(), Purpose::Runtime)?;
    if bound.session.as_ref() != Some(&present.session) {
        return Err(VouchError::OtherSession);
    }
    let registration = Registration {
        node: identity.node(),
        wallet: identity.wallet(),
        label: identity.label(),
        verifier,
    };
    let introduction = Introduction {
        registration_signature: identity.sign(&registration),
        registration,
        seal_signature: identity.sign(&bound),
    };
    let encoded = introduction.encode();
    encoded.map_err(|error| VouchError::Introduction(error.to_string()))
}

#[cfg(test)]
mod tests;
