//! Evidence, and what the enclave signs about it.

use nautilus_channel::{MessageType, Present, PresentedEvidence};
use nautilus_core::{
    BoundUserData, Challenge, ChallengeTerms, Digest32, EventLogHead, EvidenceId, MAX_EVIDENCE, NodeId,
    Purpose, Role, SessionBinding, SignedMessage as _, UnixMillis,
};
use nautilus_proof::{AttestationResponse, MAX_VALIDITY_MILLIS};
use sha2::{Digest, Sha256};

use super::{Enclave, Newest};
use crate::certificate::{Contents, ToBeSigned};
use crate::protocol::{AttestedEvidence, EnclaveFault, Reply};

/// Most bytes of an answer that carries evidence.
const MAX_ANSWER: usize = MessageType::Attestation.limit();
/// What such an answer has besides the documents.
const ROOM: usize = 4096;

impl Enclave {
    /// Has the TEE vouch for the keys.
    pub(super) fn attest(&mut self, purpose: Purpose, challenge: Challenge) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?.id;
        let user_data = self.user_data(node, purpose, None);
        let attested = self.evidence(&user_data, challenge)?;
        let report_data = challenge.bind(&user_data);
        let tee = self.tee();
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        node.newest = Some(Newest {
            id: EvidenceId::of(tee, report_data.as_bytes()),
            digest: Digest32(Sha256::digest(&attested.evidence).into()),
            certificate: None,
            evidence: attested.evidence.clone(),
            challenge,
            user_data: attested.user_data.clone(),
        });
        Ok(Reply::Evidence(Box::new(attested)))
    }

    /// Has the TEE vouch for a session that the agent opens. Only ever in the agent's role: whoever terminates a session
    /// outside of the enclave must not pass for the enclave.
    pub(super) fn vouch(
        &mut self,
        terms: &ChallengeTerms,
        session: SessionBinding,
    ) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?.id;
        if session.role != Role::Agent {
            return Err(EnclaveFault::Vouch("its role is not the agent's".to_owned()));
        }
        let attested = self.evidence_of_session(node, terms, session)?;
        Ok(Reply::Vouched(Box::new(attested)))
    }

    /// Has the TEE vouch for a session that the enclave opens itself. Also while it is suspended: without a session nobody
    /// could tell it to go on.
    ///
    /// # Errors
    /// If the session or its challenge is not for this enclave, or the TEE makes no evidence.
    pub(crate) fn present(&self, present: &Present) -> Result<PresentedEvidence, EnclaveFault> {
        let Present { terms, session } = present;
        if session.role != Role::Enclave {
            return Err(EnclaveFault::Vouch("its role is not the enclave's".to_owned()));
        }
        // Before its first `Initialize` it serves whatever node its agent names, as that does.
        let node = self.state.node.unwrap_or(session.node);
        let attested = self.evidence_of_session(node, terms, session.clone())?;
        Ok(PresentedEvidence {
            tee: self.tee(),
            evidence: attested.evidence,
            user_data: attested.user_data,
            event_log: attested.event_log,
            endorsements: attested.endorsements,
            accompanying: Vec::new(),
        })
    }

    /// The node that its state is bound to; none before the first `Initialize`.
    pub const fn bound_node(&self) -> Option<NodeId> {
        self.state.node
    }

    /// Evidence that binds a session about `node`. The role is for who calls to look at.
    fn evidence_of_session(
        &self,
        node: NodeId,
        terms: &ChallengeTerms,
        session: SessionBinding,
    ) -> Result<AttestedEvidence, EnclaveFault> {
        let refused = |what: &str| Err(EnclaveFault::Vouch(what.to_owned()));
        if session.label != SessionBinding::LABEL {
            return refused("it is of another protocol");
        }
        if (session.node, terms.node) != (node, node) {
            return refused("it is about another node");
        }
        if terms.purpose != Purpose::Runtime {
            return refused("its challenge is for something else");
        }
        let user_data = self.user_data(node, Purpose::Runtime, Some(session));
        self.evidence(&user_data, terms.challenge())
    }

    fn user_data(&self, node: NodeId, purpose: Purpose, session: Option<SessionBinding>) -> BoundUserData {
        BoundUserData {
            purpose,
            node,
            tee: self.tee(),
            boot: self.boot,
            tee_key: self.keys.tee_key(),
            channel_key: Some(self.keys.channel_key()),
            event_log: EventLogHead::EMPTY,
            session,
        }
    }

    fn evidence(
        &self,
        user_data: &BoundUserData,
        challenge: Challenge,
    ) -> Result<AttestedEvidence, EnclaveFault> {
        let raw = self
            .attester
            .attest(&challenge.bind(user_data))
            .map_err(|error| EnclaveFault::Attest(with_causes(&error)))?;
        if raw.bytes.len() > MAX_EVIDENCE {
            return Err(EnclaveFault::Attest(format!(
                "the evidence has more than {MAX_EVIDENCE} bytes"
            )));
        }
        let endorsements = raw.endorsements.0.into_iter();
        let attested = AttestedEvidence {
            evidence: raw.bytes,
            user_data: user_data.to_bytes(),
            endorsements: endorsements.map(|one| (one.kind, one.bytes)).collect(),
            event_log: raw.event_log,
        };
        check_fits(&attested)?;
        Ok(attested)
    }

    /// Signs what was assembled around the newest evidence.
    pub(super) fn sign_attestation(
        &mut self,
        evidence: Digest32,
        certificate: Digest32,
        measurements: Digest32,
        at: UnixMillis,
        expires_at: UnixMillis,
    ) -> Result<Reply, EnclaveFault> {
        let refused = |what: &str| EnclaveFault::Attestation(what.to_owned());
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?;
        let newest = node.newest.as_ref().ok_or(EnclaveFault::NotAttested)?;
        if newest.digest != evidence {
            return Err(refused("it is not about the newest evidence"));
        }
        if newest.certificate != Some(certificate) {
            return Err(refused("its certificate is not the newest for that evidence"));
        }
        if expires_at <= at {
            return Err(refused("it expires before it is made"));
        }
        if expires_at.since(at) > MAX_VALIDITY_MILLIS {
            return Err(refused("it is used for at most 24 hours"));
        }
        let response = AttestationResponse {
            node: node.id,
            boot: self.boot,
            evidence_id: newest.id,
            evidence,
            certificate,
            measurements,
            timestamp: at,
            expires_at,
        };
        self.date_keys(at)?;
        Ok(Reply::Attestation(self.keys.sign(&response)))
    }

    /// Makes a certificate for the signing key that carries the newest evidence.
    pub(super) fn certify(
        &mut self,
        not_before: UnixMillis,
        not_after: UnixMillis,
    ) -> Result<Reply, EnclaveFault> {
        let refused = |what: &str| EnclaveFault::Certify(what.to_owned());
        let tee = self.tee();
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        let newest = node.newest.as_mut().ok_or(EnclaveFault::NotAttested)?;
        if not_after <= not_before {
            return Err(refused("it ends before it starts"));
        }
        if not_after.since(not_before) > MAX_VALIDITY_MILLIS {
            return Err(refused("it is valid for at most 24 hours"));
        }
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(|error| refused(&error.to_string()))?;
        let to_be_signed = ToBeSigned::new(&Contents {
            node: node.id,
            tee,
            tee_key: self.keys.tee_key(),
            serial,
            not_before,
            not_after,
            evidence: &newest.evidence,
            challenge: newest.challenge,
            user_data: &newest.user_data,
        })
        .ok_or_else(|| refused("its times are no dates"))?;
        let signature = self.keys.sign_certificate(&to_be_signed);
        let certificate = to_be_signed.signed(&signature);
        newest.certificate = Some(Digest32(Sha256::digest(&certificate).into()));
        Ok(Reply::Certificate(certificate))
    }
}

/// An answer that is too long for its message would end the enclave instead of being refused.
fn check_fits(attested: &AttestedEvidence) -> Result<(), EnclaveFault> {
    let endorsements = attested.endorsements.iter().map(|(_, bytes)| bytes.len());
    let documents = endorsements.chain([
        attested.evidence.len(),
        attested.user_data.len(),
        attested.event_log.as_ref().map_or(0, Vec::len),
        attested.endorsements.len().saturating_mul(8),
    ]);
    let total = documents.fold(ROOM, usize::saturating_add);
    if total > MAX_ANSWER {
        return Err(EnclaveFault::Attest(format!(
            "with its documents it has more than {MAX_ANSWER} bytes"
        )));
    }
    Ok(())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
