//! Bodies of the verifier's HTTP API. All JSON; every answer but a success is an [`ApiError`].

use nautilus_core::{
    Appraisal, AppraisalVerdict, Digest32, EvidenceFile, EvidenceId, NodeId, PublicKey, SuiAddress,
    UnixMillis,
};
use nautilus_core::{Assurance, Purpose};
use nautilus_proof::Registration;
use nautilus_proof::wallet::WalletSignature;
use serde::{Deserialize, Serialize};

/// `GET /v1/verifier`: who this is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifierFacts {
    /// The key that signs appraisal records.
    pub verifier: PublicKey,
    /// Version of the program.
    pub version: String,
}

/// `POST /v1/nodes`: registers a node. Idempotent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The wallet's statement.
    pub registration: Registration,
    /// Its signature.
    pub signature: WalletSignature,
}

/// Answer to [`RegisterRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// The node.
    pub node: NodeId,
}

/// `POST /v1/challenges`: asks for a challenge. The answer is [`nautilus_core::ChallengeTerms`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The node that will answer.
    pub node: NodeId,
    /// What for.
    pub purpose: Purpose,
}

/// `POST /v1/attestations`: has evidence verified and appraised. The answer is [`AttestationOutcome`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationRequest {
    /// The evidence, with its challenge, user data and endorsements.
    pub evidence: EvidenceFile,
    /// The node's wallet's signature over the user data, as a Sui personal message: the wallet says that this
    /// enclave is its node's. Without it, anybody's genuine enclave could take a node's place.
    pub seal_signature: WalletSignature,
}

/// Answer to [`AttestationRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttestationOutcome {
    /// Whether the policy accepted.
    pub verdict: AppraisalVerdict,
    /// What the hardware vouches for.
    pub assurance: Assurance,
    /// Canonical identity of the evidence.
    pub evidence_id: EvidenceId,
    /// Until when the verdict may be relied upon.
    pub expires_at: UnixMillis,
    /// The whole appraisal: policy, findings, claims.
    pub appraisal: serde_json::Value,
}

impl AttestationOutcome {
    /// What came of `appraisal`, whose JSON form is `json`.
    pub fn of(appraisal: &Appraisal, json: serde_json::Value) -> Self {
        Self {
            verdict: appraisal.verdict(),
            assurance: appraisal.claims().assurance,
            evidence_id: appraisal.claims().evidence_id,
            expires_at: appraisal.expires_at(),
            appraisal: json,
        }
    }
}

/// Answer to `POST /v1/secrets`, whose body is an [`AttestationRequest`] made for the purpose `workload`: what the
/// key broker releases to a node whose evidence was accepted. The appraisal is recorded nowhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Released {
    /// Canonical identity of the evidence.
    pub evidence_id: EvidenceId,
    /// The secrets.
    pub secrets: Vec<ReleasedSecret>,
}

/// One secret, which only the enclave can open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleasedSecret {
    /// What it is called.
    pub name: String,
    /// HPKE to the channel key that the evidence binds, in base64 ([wire.md](../../../docs/wire.md)).
    pub sealed: String,
}

/// Answer to `POST /v1/proofs`, whose body is a performance proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settlement {
    /// The proof.
    pub proof_id: Digest32,
    /// The node.
    pub node: NodeId,
    /// Number of the window in its boot.
    pub sequence: u64,
    /// Height of the ledger's entry that settled it.
    pub height: u64,
    /// Hash of that entry.
    pub entry: Digest32,
    /// The wallet that is rewarded.
    pub wallet: SuiAddress,
    /// The reward, in the smallest unit.
    pub amount: u64,
    /// All rewards of this node ever, in the smallest unit.
    pub accrued: u64,
}

/// Body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The error's name.
    pub kind: String,
    /// What is wrong, for people.
    pub detail: String,
}
