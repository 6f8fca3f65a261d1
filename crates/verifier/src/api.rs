//! What agent and verifier say to each other: questions and answers in the attested channel, in JSON. What is no success
//! is a [`Fault`]. Everything here is the peer's word until it has been checked.

use nautilus_channel::{Fault, MessageType, Payload, PayloadError};
use nautilus_core::{
    Appraisal, AppraisalVerdict, ChallengeTerms, Digest32, EvidenceFile, EvidenceId, NodeId, PublicKey,
    Signature, SuiAddress, UnixMillis,
};
use nautilus_core::{Assurance, Purpose};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{KeyRotation, PerformanceProof, Registration};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Most bytes of an [`Introduction`].
pub const MAX_INTRODUCTION: usize = 16 * 1024;

/// What an agent asks a verifier. The session is about one node, and so is every question in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Asks for a challenge.
    Challenge(ChallengeRequest),
    /// Has evidence verified and appraised.
    Attest(Box<AttestationRequest>),
    /// Asks for secrets, with evidence made for the purpose `workload`.
    Release(Box<AttestationRequest>),
    /// Has a proof settled.
    Settle(Box<PerformanceProof>),
    /// Says that a key signs no more.
    Rotated(KeyRotationNotice),
}

/// What a verifier answers: each question has its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Question::Challenge`].
    Challenge(ChallengeTerms),
    /// To [`Question::Attest`].
    Attested(AttestationOutcome),
    /// To [`Question::Release`].
    Released(Released),
    /// To [`Question::Settle`].
    Settled(Settlement),
    /// To [`Question::Rotated`].
    RotationNoted(RotationNoted),
}

impl Question {
    /// Its name, as it stands in the JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Challenge(_) => "challenge",
            Self::Attest(_) => "attest",
            Self::Release(_) => "release",
            Self::Settle(_) => "settle",
            Self::Rotated(_) => "rotated",
        }
    }
}

impl Payload for Question {
    fn message_type(&self) -> MessageType {
        match self {
            Self::Challenge(_) | Self::Attest(_) | Self::Release(_) => MessageType::Attestation,
            Self::Settle(_) => MessageType::ProofRequest,
            Self::Rotated(_) => MessageType::KeyRotation,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_json(self)
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        use MessageType::{Attestation, KeyRotation, ProofRequest};
        decode_typed(&[Attestation, ProofRequest, KeyRotation], message_type, bytes)
    }
}

impl Payload for Answer {
    fn message_type(&self) -> MessageType {
        match self {
            Self::Challenge(_) | Self::Attested(_) | Self::Released(_) => MessageType::Attestation,
            Self::Settled(_) => MessageType::ProofResponse,
            Self::RotationNoted(_) => MessageType::KeyRotation,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_json(self)
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        use MessageType::{Attestation, KeyRotation, ProofResponse};
        decode_typed(&[Attestation, ProofResponse, KeyRotation], message_type, bytes)
    }
}

/// What comes along with the evidence of a session, and makes it that of a node: the content of
/// [`nautilus_channel::PresentedEvidence::accompanying`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The wallet's statement that the node is its own.
    pub registration: Registration,
    /// The wallet's signature over the registration.
    pub registration_signature: WalletSignature,
    /// The wallet's signature over the user data that the session's evidence binds, as in [`AttestationRequest`].
    pub seal_signature: WalletSignature,
}

impl Introduction {
    /// Its bytes.
    ///
    /// # Errors
    /// If it has no encoding.
    pub fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_json(self)
    }

    /// Reads it back; the bytes are the peer's.
    ///
    /// # Errors
    /// If there are too many of them, or they are no introduction.
    pub fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.len() > MAX_INTRODUCTION {
            let size = bytes.len();
            return Err(PayloadError(format!(
                "introduction has {size} bytes, more than the {MAX_INTRODUCTION} allowed"
            )));
        }
        decode_json(bytes)
    }
}

/// That a key signs no more, in the words of that key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotationNotice {
    /// Which key, and which one is in its place.
    pub rotation: KeyRotation,
    /// The retired key's signature, its last.
    pub signature: Signature,
}

/// Answer to a [`KeyRotationNotice`]: evidence by that key is refused from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationNoted {
    /// The key.
    pub retired: PublicKey,
}

/// `GET /v1/verifier`: who this is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifierFacts {
    /// The key that signs appraisal records.
    pub verifier: PublicKey,
    /// Version of the program.
    pub version: String,
}

/// Asks for a challenge. The answer is [`ChallengeTerms`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The node that will answer.
    pub node: NodeId,
    /// What for.
    pub purpose: Purpose,
}

/// Evidence to be verified and appraised. The answer is [`AttestationOutcome`], or [`Released`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationRequest {
    /// The evidence, with its challenge, user data and endorsements.
    pub evidence: EvidenceFile,
    /// The node's wallet's signature over the user data, as a Sui personal message: the wallet says that this
    /// enclave is its node's. Without it, anybody's genuine enclave could take a node's place.
    pub seal_signature: WalletSignature,
}

/// What came of evidence. Also the note of a handshake's verdict, accepted or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// As the note of a handshake's verdict.
    ///
    /// # Errors
    /// If it has no encoding.
    pub fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_json(self)
    }

    /// From the note of a handshake's verdict; the bytes are the peer's.
    ///
    /// # Errors
    /// If they are no outcome.
    pub fn decode(note: &[u8]) -> Result<Self, PayloadError> {
        decode_json(note)
    }
}

/// What the key broker releases to a node whose evidence, made for the purpose `workload`, was accepted. The appraisal
/// is recorded nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// Canonical identity of the evidence.
    pub evidence_id: EvidenceId,
    /// The secrets.
    pub secrets: Vec<ReleasedSecret>,
}

/// One secret, which only the enclave can open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedSecret {
    /// What it is called.
    pub name: String,
    /// HPKE to the channel key that the evidence binds, in base64 ([wire.md](../../../docs/wire.md)).
    pub sealed: String,
}

/// What a settled proof brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Why a question has no success: it goes back as a [`Fault`], and over HTTP as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The error's name.
    pub kind: String,
    /// What is wrong, for people.
    pub detail: String,
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self {
            kind: error.kind,
            detail: error.detail,
            note: Vec::new(),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self {
            kind: fault.kind,
            detail: fault.detail,
        }
    }
}

fn encode_json(content: &impl Serialize) -> Result<Vec<u8>, PayloadError> {
    serde_json::to_vec(content).map_err(|error| PayloadError(error.to_string()))
}

fn decode_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(bytes).map_err(|error| PayloadError(error.to_string()))
}

/// Content of one of `types`, which says itself that it is of the type under which it came.
fn decode_typed<T: Payload + DeserializeOwned>(
    types: &[MessageType],
    message_type: MessageType,
    bytes: &[u8],
) -> Result<T, PayloadError> {
    if !types.contains(&message_type) {
        return Err(PayloadError(format!(
            "nothing is said in {message_type} messages"
        )));
    }
    if bytes.len() > message_type.limit() {
        let (size, limit) = (bytes.len(), message_type.limit());
        return Err(PayloadError(format!(
            "it has {size} bytes, more than the {limit} allowed"
        )));
    }
    let content: T = decode_json(bytes)?;
    if content.message_type() != message_type {
        let wanted = content.message_type();
        return Err(PayloadError(format!(
            "its content belongs into a {wanted} message, and came in a {message_type} message"
        )));
    }
    Ok(content)
}
