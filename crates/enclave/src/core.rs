//! The state of an enclave and what it signs.

use ed25519_dalek::{Signer, SigningKey};
use nautilus_core::{
    Attester, BootId, BoundUserData, Challenge, EventLogHead, EvidenceId, NodeId, PublicKey, Purpose,
    Signature, SignedMessage, UnixMillis,
};
use nautilus_proof::merkle::{Frontier, leaf_hash};
use nautilus_proof::{
    MAX_SAMPLES, MAX_VALIDITY_MILLIS, Metrics, ProofStatement, SampleChain, SignedSample, Window,
    covered_slots, slots,
};
use zeroize::Zeroize;

use crate::protocol::{
    AttestedEvidence, EnclaveFault, Identity, P256Key, Reply, Request, Rollback, SignedWindow, StateFacts,
};

/// One run of the trusted core.
pub struct Enclave {
    attester: Box<dyn Attester>,
    key: SigningKey,
    identity: Identity,
    node: Option<Node>,
}

/// What exists once the enclave knows which node it serves.
struct Node {
    id: NodeId,
    chain: SampleChain,
    log: Frontier,
    last_end: UnixMillis,
    evidence: Option<EvidenceId>,
}

impl Enclave {
    /// A new boot: makes key and boot id from the system's randomness.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn boot(attester: Box<dyn Attester>) -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let key = SigningKey::from_bytes(&seed);
        seed.zeroize();
        let mut boot = [0; 16];
        getrandom::fill(&mut boot)?;
        let identity = Identity {
            tee: attester.descriptor().tee,
            boot: BootId(boot),
            tee_key: PublicKey(key.verifying_key().to_bytes()),
            p256: P256Key {
                key: Vec::new(),
                signature: Signature([0; 64]),
            },
            channel_key: PublicKey([0; 32]),
            state: StateFacts {
                generation: 1,
                protection: None,
                sealed_by_tee: false,
                rollback: Rollback::NotApplicable,
                keys_made_at: None,
                retired: Vec::new(),
                secrets: Vec::new(),
            },
        };
        Ok(Self {
            attester,
            key,
            identity,
            node: None,
        })
    }

    /// Answers a request. A refusal changes nothing.
    pub fn handle(&mut self, request: Request) -> Reply {
        let result = match request {
            Request::Initialize { node } => self.initialize(node),
            Request::Attest { purpose, challenge } => self.attest(purpose, challenge),
            Request::Sample { at, metrics } => self.sample(at, metrics),
            Request::CloseWindow {
                start,
                end,
                interval_millis,
                now,
                validity_millis,
            } => self.close_window(start, end, interval_millis, now, validity_millis),
            _ => Err(EnclaveFault::State("not yet".to_owned())),
        };
        result.unwrap_or_else(Reply::Refused)
    }

    fn initialize(&mut self, id: NodeId) -> Result<Reply, EnclaveFault> {
        if self.node.is_some() {
            return Err(EnclaveFault::AlreadyInitialized);
        }
        self.node = Some(Node {
            id,
            chain: SampleChain::of_boot(id, self.identity.boot),
            log: Frontier::default(),
            last_end: UnixMillis(0),
            evidence: None,
        });
        Ok(Reply::Identity(self.identity.clone()))
    }

    fn attest(&mut self, purpose: Purpose, challenge: Challenge) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        let user_data = BoundUserData {
            purpose,
            node: node.id,
            tee: self.identity.tee,
            boot: self.identity.boot,
            tee_key: self.identity.tee_key,
            channel_key: None,
            event_log: EventLogHead::EMPTY,
        };
        let report_data = challenge.bind(&user_data);
        let evidence = self
            .attester
            .attest(&report_data)
            .map_err(|error| EnclaveFault::Attest(error.to_string()))?;
        node.evidence = Some(EvidenceId::of(self.identity.tee, report_data.as_bytes()));
        let endorsements = evidence.endorsements.0.into_iter();
        Ok(Reply::Evidence(Box::new(AttestedEvidence {
            evidence: evidence.bytes,
            user_data: user_data.to_bytes(),
            endorsements: endorsements.map(|one| (one.kind, one.bytes)).collect(),
            event_log: evidence.event_log,
        })))
    }

    fn sample(&mut self, at: UnixMillis, metrics: Metrics) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        if node.chain.times().len() >= MAX_SAMPLES as usize {
            return Err(EnclaveFault::WindowFull(MAX_SAMPLES));
        }
        if at < node.last_end {
            return Err(EnclaveFault::Sample(
                "it lies in a window that is closed".to_owned(),
            ));
        }
        let sample = node.chain.draft(at, metrics);
        node.chain
            .push(&sample)
            .map_err(|error| EnclaveFault::Sample(error.to_string()))?;
        let signature = sign(&self.key, &sample);
        Ok(Reply::Sample(SignedSample { sample, signature }))
    }

    fn close_window(
        &mut self,
        start: UnixMillis,
        end: UnixMillis,
        interval_millis: u64,
        now: UnixMillis,
        validity_millis: u64,
    ) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        let attestation_hash = node.evidence.ok_or(EnclaveFault::NotAttested)?;
        let refused = |what: &str| EnclaveFault::Window(what.to_owned());
        if start >= end || start < node.last_end {
            return Err(refused(
                "it does not start after the last one and end after its start",
            ));
        }
        if validity_millis > MAX_VALIDITY_MILLIS {
            return Err(refused("a proof is valid for at most 24 hours"));
        }
        let slots =
            slots(end.since(start), interval_millis).ok_or_else(|| refused("its interval is no time"))?;
        let times = node.chain.times();
        let covered = covered_slots(start, end, interval_millis, times)
            .ok_or_else(|| refused("a sample lies outside of it"))?;
        let samples = u32::try_from(times.len()).map_err(|_| EnclaveFault::WindowFull(MAX_SAMPLES))?;
        let window = Window {
            node: node.id,
            tee: self.identity.tee,
            assurance: self.identity.tee.assurance(),
            boot: self.identity.boot,
            sequence: node.log.size(),
            start,
            end,
            interval_millis,
            slots,
            covered,
            samples,
            metrics_hash: node.chain.metrics_hash(),
            attestation_hash,
            summary: node.chain.summary(),
        };
        let merkle_proof = node.log.next_path();
        node.log.append(leaf_hash(&window.to_bytes()));
        node.chain.start_window();
        node.last_end = end;
        let statement = ProofStatement {
            window,
            merkle_root: node.log.root(),
            issued_at: now,
            expires_at: now.plus(validity_millis),
        };
        let tee_signature = sign(&self.key, &statement);
        Ok(Reply::Window(Box::new(SignedWindow {
            statement,
            merkle_proof,
            tee_signature,
        })))
    }
}

fn sign(key: &SigningKey, message: &impl SignedMessage) -> Signature {
    Signature(key.sign(&message.to_bytes()).to_bytes())
}

#[cfg(test)]
mod tests;
