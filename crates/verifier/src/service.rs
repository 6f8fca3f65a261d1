//! What the verifier does, without HTTP.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nautilus_core::{
    Appraisal, AppraisalVerdict, Binding, ChallengeTerms, Policy, PublicKey, Purpose, UnixMillis,
    VerifierSet, VerifyError,
};
use nautilus_ledger::{AppraisalRecord, Ledger, LedgerError, SubmitError};
use nautilus_proof::{PerformanceProof, ProofError};

use crate::api::{
    ApiError, AttestationOutcome, AttestationRequest, ChallengeRequest, RegisterRequest, Registered,
    Released, Settlement, VerifierFacts,
};
use crate::broker::KeyBroker;
use crate::challenges::Challenges;
use crate::key::VerifierKey;
use crate::told::told;

/// A verifier: whose evidence counts, what is wanted of it, and the ledger that it settles on.
pub struct Verifier {
    set: VerifierSet,
    policy: Policy,
    key: VerifierKey,
    challenges: Mutex<Challenges>,
    ledger: Mutex<Box<dyn Ledger + Send>>,
    broker: Option<KeyBroker>,
}

/// Why a request had no success, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is not what the request takes.
    #[error("{0}")]
    BadRequest(String),
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
    /// The error as the API gives it.
    pub fn to_api(&self) -> ApiError {
        let kind = match self {
            Self::BadRequest(_) => "bad_request".to_owned(),
            Self::ChallengeUnknown => "challenge_unknown".to_owned(),
            Self::NotTheNodesWallet => "wallet_signature_invalid".to_owned(),
            Self::Busy => "busy".to_owned(),
            Self::Evidence(error) => tag(error),
            Self::Proof(error) => error.kind().to_owned(),
            Self::Ledger(error) => error.kind().to_owned(),
            Self::LedgerUnavailable(_) => "ledger_unavailable".to_owned(),
            Self::NotAccepted(_) => "not_accepted".to_owned(),
            Self::NotReleased(_) => "not_released".to_owned(),
            Self::Internal(_) => "internal".to_owned(),
        };
        ApiError {
            kind,
            detail: self.to_string(),
        }
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

impl Verifier {
    /// A verifier that judges by `policy` and settles on `ledger`.
    pub fn new(
        set: VerifierSet,
        policy: Policy,
        key: VerifierKey,
        ledger: impl Ledger + Send + 'static,
    ) -> Self {
        Self {
            set,
            policy,
            key,
            challenges: Mutex::default(),
            ledger: Mutex::new(Box::new(ledger)),
            broker: None,
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

    /// The key that signs its records.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Who this is.
    pub fn facts(&self) -> VerifierFacts {
        VerifierFacts {
            verifier: self.public_key(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Registers a node. Once more with the same content is a success too.
    ///
    /// # Errors
    /// If the ledger refuses.
    pub fn register(&self, request: RegisterRequest, now: UnixMillis) -> Result<Registered, Refusal> {
        let node = request.registration.node;
        match self
            .ledger()
            .register(request.registration, request.signature, now)
        {
            Ok(()) | Err(SubmitError::Refused(LedgerError::AlreadyRegistered { .. })) => {
                Ok(Registered { node })
            }
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
        let bound = claims
            .user_data
            .as_ref()
            .ok_or_else(|| Refusal::Internal("no user data is bound".to_owned()))?;
        let unknown = LedgerError::NodeUnknown { node: bound.node };
        let node = self.ledger().node(bound.node)?.ok_or(unknown)?;
        if !request.seal_signature.is_of(node.wallet, bound) {
            return Err(Refusal::NotTheNodesWallet);
        }
        Ok((terms, self.policy.appraise(claims, now)))
    }

    fn record(&self, appraisal: &Appraisal, now: UnixMillis) -> Result<(), Refusal> {
        let claims = appraisal.claims();
        let bound = claims
            .user_data
            .as_ref()
            .ok_or_else(|| Refusal::Internal("no user data is bound".to_owned()))?;
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

    /// Verifies a proof and settles it.
    ///
    /// # Errors
    /// If it does not verify, or the ledger refuses it.
    pub fn settle(&self, body: &[u8], now: UnixMillis) -> Result<Settlement, Refusal> {
        let proof = PerformanceProof::from_json(body)?.verify(now)?;
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

/// A poisoned lock means that a panic left something half-done; the ledger's own file is still whole, and the
/// state in memory changes only as the last step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
