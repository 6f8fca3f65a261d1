//! What the verifier does, whatever carries the questions.

mod introduction;
mod refusal;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_channel::{MessageType, Payload as _, SessionKeyHolder};
use nautilus_core::{
    Appraisal, AppraisalVerdict, Binding, BoundUserData, ChallengeTerms, Claims, NodeId, Policy, PublicKey,
    Purpose, SignedMessage as _, UnixMillis, VerifierSet,
};
use nautilus_ledger::{AppraisalRecord, Ledger, LedgerError, SubmitError};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{PerformanceProof, Registration};

use crate::api::{
    Answer, AttestationOutcome, AttestationRequest, ChallengeRequest, KeyRotationNotice, Question, Released,
    RotationNoted, Settlement, VerifierFacts,
};
use crate::broker::KeyBroker;
use crate::challenges::Challenges;
use crate::key::VerifierKey;
use crate::registry::{Platform, Registry};

pub use self::refusal::Refusal;

/// A verifier: whose evidence counts, what is wanted of it, what is known of nodes, and the ledger that it settles on.
pub struct Verifier {
    set: VerifierSet,
    policy: Policy,
    key: Arc<VerifierKey>,
    registry: Registry,
    challenges: Mutex<Challenges>,
    ledger: Mutex<Box<dyn Ledger + Send>>,
    broker: Option<KeyBroker>,
    report: Option<Report>,
}

/// Tells the operator of a failure.
type Report = Box<dyn Fn(&Refusal) + Send + Sync>;

impl Verifier {
    /// A verifier that judges by `policy`, knows nodes by `registry`, and settles on `ledger`.
    pub fn new(
        set: VerifierSet,
        policy: Policy,
        key: VerifierKey,
        registry: Registry,
        ledger: impl Ledger + Send + 'static,
    ) -> Self {
        Self {
            set,
            policy,
            key: Arc::new(key),
            registry,
            challenges: Mutex::default(),
            ledger: Mutex::new(Box::new(ledger)),
            broker: None,
            report: None,
        }
    }

    /// The same verifier, which also releases secrets to nodes whose evidence it accepts.
    #[must_use]
    pub fn releasing(self, broker: KeyBroker) -> Self {
        Self {
            broker: Some(broker),
            ..self
        }
    }

    /// The same verifier, which also tells `report` the whole of what peers are told the name of only: failures that are
    /// its own ([`Refusal::is_own`]). Called where peers wait, so it is quick.
    #[must_use]
    pub fn reporting(self, report: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        Self {
            report: Some(Box::new(report)),
            ..self
        }
    }

    pub(crate) fn report(&self, refusal: &Refusal) {
        if let Some(report) = self.report.as_ref().filter(|_| refusal.is_own()) {
            report(refusal);
        }
    }

    /// The key that signs its records.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The same key, for sessions of the attested channel and nothing else.
    pub fn session_key(&self) -> Arc<dyn SessionKeyHolder> {
        Arc::clone(&self.key) as _
    }

    /// What is known of nodes.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who this is.
    pub fn facts(&self) -> VerifierFacts {
        VerifierFacts {
            verifier: self.public_key(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Answers what the attested node asks.
    ///
    /// # Errors
    /// If it is about another node, or cannot be done.
    pub fn answer(&self, node: NodeId, question: Question, now: UnixMillis) -> Result<Answer, Refusal> {
        let found = match &question {
            Question::Challenge(request) => Some(request.node),
            Question::Attest(request) | Question::Release(request) => {
                let bound = request.evidence.evidence.user_data.as_deref();
                // What is not readable is not verified either.
                bound
                    .and_then(BoundUserData::from_canonical)
                    .map(|bound| bound.node)
            }
            Question::Settle(proof) => Some(proof.node_id),
            Question::Rotated(notice) => Some(notice.rotation.node),
        };
        if let Some(found) = found.filter(|found| *found != node) {
            return Err(Refusal::AnotherNode { session: node, found });
        }
        Ok(match question {
            Question::Challenge(request) => Answer::Challenge(self.challenge(&request, now)?),
            Question::Attest(request) => Answer::Attested(self.attest(&request, now)?),
            Question::Release(request) => Answer::Released(self.release(&request, now)?),
            Question::Settle(proof) => Answer::Settled(self.settle(*proof, now)?),
            Question::Rotated(notice) => Answer::RotationNoted(self.note_rotation(&notice)?),
        })
    }

    /// As [`Self::answer`], for a question as it came.
    ///
    /// # Errors
    /// As [`Self::answer`]; and if it is none.
    pub fn answer_message(
        &self,
        node: NodeId,
        message_type: MessageType,
        payload: &[u8],
        now: UnixMillis,
    ) -> Result<Answer, Refusal> {
        let question = Question::decode(message_type, payload).map_err(|error| match message_type {
            MessageType::ProofRequest => Refusal::NotAProof(error.to_string()),
            _ => Refusal::BadRequest(error.to_string()),
        })?;
        self.answer(node, question, now)
    }

    /// Registers a node with the ledger. Once more with the same content is a success too.
    ///
    /// # Errors
    /// If the ledger refuses.
    pub fn register(
        &self,
        registration: Registration,
        signature: WalletSignature,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        match self.ledger().register(registration, signature, now) {
            Ok(()) | Err(SubmitError::Refused(LedgerError::AlreadyRegistered { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Issues a challenge.
    ///
    /// # Errors
    /// If too many wait.
    pub fn challenge(&self, request: &ChallengeRequest, now: UnixMillis) -> Result<ChallengeTerms, Refusal> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| Refusal::Internal(format!("no randomness: {error}")))?;
        lock(&self.challenges)
            .issue(self.public_key(), request.node, request.purpose, nonce, now)
            .map_err(|_| Refusal::Busy)
    }

    /// Verifies and appraises evidence that answers one of this verifier's challenges and that the node's wallet
    /// stands behind; records an accepting appraisal on the ledger. The challenge is used up, whatever comes of
    /// it.
    ///
    /// # Errors
    /// If the evidence does not verify, the wallet did not sign, or the ledger refuses the record. A rejecting
    /// appraisal is a success.
    pub fn attest(
        &self,
        request: &AttestationRequest,
        now: UnixMillis,
    ) -> Result<AttestationOutcome, Refusal> {
        let (_, appraisal) = self.appraise(request, now)?;
        if appraisal.verdict() == AppraisalVerdict::Accepted {
            let (node, key) = (
                bound(appraisal.claims())?.node,
                bound(appraisal.claims())?.tee_key,
            );
            self.registry
                .admit(node, &Platform::of(appraisal.claims()), &key, now)?;
            self.record(&appraisal, now)?;
        }
        let json = serde_json::to_value(&appraisal).map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(AttestationOutcome::of(&appraisal, json))
    }

    /// Releases secrets to the enclave whose evidence, made for the purpose `workload`, is accepted: encrypted to the
    /// channel key that the evidence binds. Nothing is recorded. The challenge is used up, whatever comes of it.
    ///
    /// # Errors
    /// As [`Self::attest`]; and if the policy rejects, or this verifier releases nothing.
    pub fn release(&self, request: &AttestationRequest, now: UnixMillis) -> Result<Released, Refusal> {
        let broker = self
            .broker
            .as_ref()
            .ok_or(Refusal::NotReleased("this verifier has no secrets to release"))?;
        let (terms, appraisal) = self.appraise(request, now)?;
        if terms.purpose != Purpose::Workload {
            return Err(Refusal::NotReleased(
                "the challenge was not for the purpose `workload`",
            ));
        }
        if appraisal.verdict() != AppraisalVerdict::Accepted {
            let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
            let failed: Vec<_> = failed
                .map(|finding| format!("{}: {}", finding.rule, finding.detail))
                .collect();
            return Err(Refusal::NotAccepted(failed.join("; ")));
        }
        let claims = appraisal.claims();
        let bound = claims.user_data.as_ref();
        let (node, key) = bound
            .and_then(|bound| Some((bound.node, bound.channel_key?)))
            .ok_or(Refusal::NotReleased("the evidence binds no channel key"))?;
        let secrets = broker.release(node, &key).ok_or(Refusal::NotReleased(
            "nothing can be encrypted to the channel key that the evidence binds",
        ))?;
        Ok(Released {
            evidence_id: claims.evidence_id,
            secrets,
        })
    }

    /// Takes the challenge, and judges what answers it.
    fn appraise(
        &self,
        request: &AttestationRequest,
        now: UnixMillis,
    ) -> Result<(ChallengeTerms, Appraisal), Refusal> {
        let file = &request.evidence;
        let terms = lock(&self.challenges)
            .take(file.challenge)
            .ok_or(Refusal::ChallengeUnknown)?;
        let claims = self
            .set
            .verify(&file.evidence, Binding::Issued(&terms), &file.endorsements, now)?;
        let bound = bound(&claims)?;
        let unknown = LedgerError::NodeUnknown { node: bound.node };
        let node = self.ledger().node(bound.node)?.ok_or(unknown)?;
        if !request.seal_signature.is_of(node.wallet, bound) {
            return Err(Refusal::NotTheNodesWallet);
        }
        self.registry
            .check(bound.node, &Platform::of(&claims), &bound.tee_key)?;
        Ok((terms, self.policy.appraise(claims, now)))
    }

    fn record(&self, appraisal: &Appraisal, now: UnixMillis) -> Result<(), Refusal> {
        let claims = appraisal.claims();
        let bound = bound(claims)?;
        let record = AppraisalRecord {
            node: bound.node,
            tee: claims.tee,
            assurance: claims.assurance,
            evidence: claims.evidence_id,
            tee_key: bound.tee_key,
            boot: bound.boot,
            policy: appraisal.policy_id(),
            appraised_at: appraisal.appraised_at(),
            expires_at: appraisal.expires_at(),
        };
        let signature = self.key.sign(&record);
        Ok(self.ledger().record_appraisal(record, signature, now)?)
    }

    /// Notes that a key signs no more, by its own last word. Evidence by it is refused from now on.
    ///
    /// # Errors
    /// If the key did not sign that, the node is not registered, evidence by the key was never accepted, or the registry
    /// cannot be kept.
    pub fn note_rotation(&self, notice: &KeyRotationNotice) -> Result<RotationNoted, Refusal> {
        let KeyRotationNotice { rotation, signature } = notice;
        let retired = rotation.retired;
        if retired == rotation.successor || !rotation.is_signed_by(&retired, signature) {
            return Err(Refusal::RotationInvalid);
        }
        self.registry.retire(rotation.node, retired)?;
        Ok(RotationNoted { retired })
    }

    /// Verifies a proof and settles it.
    ///
    /// # Errors
    /// If it does not verify, or the ledger refuses it: `already_settled` where its window was settled before.
    pub fn settle(&self, proof: PerformanceProof, now: UnixMillis) -> Result<Settlement, Refusal> {
        let proof = proof.verify(now)?;
        let node = proof.submission().statement.window.node;
        let settled = self.ledger().settle(proof, now)?;
        Ok(Settlement {
            proof_id: settled.proof,
            node,
            sequence: settled.sequence,
            height: settled.entry.height,
            entry: settled.entry.hash,
            wallet: settled.account.wallet,
            amount: settled.amount,
            accrued: settled.account.accrued,
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Box<dyn Ledger + Send>> {
        lock(&self.ledger)
    }
}

/// What evidence binds that answers a challenge.
fn bound(claims: &Claims) -> Result<&BoundUserData, Refusal> {
    let bound = claims.user_data.as_ref();
    bound.ok_or_else(|| Refusal::Internal("no user data is bound".to_owned()))
}

/// A poisoned lock means that a panic left something half-done; the ledger's own file is still whole, and the
/// state in memory changes only as the last step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
