//! What agent and enclave say to each other through their channel: one question, one answer, each in BCS.

use nautilus_channel::{Fault, MessageType, Payload, PayloadError, decode_bcs, encode_bcs};
use nautilus_core::{
    BootId, Challenge, ChallengeTerms, Digest32, EndorsementKind, NodeId, PublicKey, Purpose, SessionBinding,
    Signature, TeeKind, UnixMillis,
};
use nautilus_proof::{Measurement, ProofStatement, Sample, SampleBatch};
use serde::{Deserialize, Serialize};

pub use crate::storage::{StorageKey, StorageKeyOrigin};

/// What the agent asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Serve this node. First, and once.
    Initialize {
        /// The node.
        node: NodeId,
    },
    /// Make evidence that answers a challenge and binds the signing key.
    Attest {
        /// What for.
        purpose: Purpose,
        /// The challenge.
        challenge: Challenge,
    },
    /// Number a sample and chain it. It is signed with its batch.
    Sample {
        /// What was measured, and when.
        measurement: Box<Measurement>,
    },
    /// Close the window, append it to the log, and sign. The open batch must be signed.
    CloseWindow {
        /// First instant of the window.
        start: UnixMillis,
        /// First instant after it.
        end: UnixMillis,
        /// Time between samples, in milliseconds.
        interval_millis: u64,
        /// The host's time now.
        now: UnixMillis,
        /// How long the proof is to be accepted, in milliseconds.
        validity_millis: u64,
    },
    /// Whether it is alive, and how far it is.
    Heartbeat,
    /// Sign nothing until `Resume`.
    Suspend,
    /// Go on after `Suspend`.
    Resume,
    /// Replace the signing keys, which starts a new boot: a new boot id, an empty window log, no evidence yet. The open
    /// batch must be signed, and the open window closed. The old keys sign the new ones, and nothing else ever again.
    Rotate {
        /// The host's time now.
        now: UnixMillis,
    },
    /// Make an X.509 certificate for the signing key that carries the newest evidence.
    Certify {
        /// First instant at which it is valid.
        not_before: UnixMillis,
        /// Last instant at which it is valid: at most 24 hours later.
        not_after: UnixMillis,
    },
    /// Sign the response to an attestation request, which the agent assembled around the newest evidence.
    SignAttestation {
        /// SHA-256 of the evidence file's bytes that bind it: its raw evidence.
        evidence: Digest32,
        /// SHA-256 of the certificate in DER.
        certificate: Digest32,
        /// SHA-256 of the measurements in their canonical form.
        measurements: Digest32,
        /// The host's time now.
        at: UnixMillis,
        /// How long the response is to be used: at most 24 hours later.
        expires_at: UnixMillis,
    },
    /// Take a secret that was encrypted to the key that evidence binds as the channel key, and keep it with the state.
    Provision {
        /// What the secret is called.
        name: String,
        /// The secret: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, AES-256-GCM; `enc ‖ ciphertext`.
        sealed: Vec<u8>,
    },
    /// Make evidence for a session of the attested channel that the agent opens for its node. The session's role is the
    /// agent's: for its own sessions the enclave needs nobody's word.
    Vouch {
        /// The challenge of who is at the other end.
        terms: Box<ChallengeTerms>,
        /// The session, as the agent states it.
        session: Box<SessionBinding>,
    },
    /// Sign the samples that came since the last batch.
    SignBatch,
    /// Give the key of one epoch of the agent's store. It signs nothing.
    StorageKey {
        /// Which key: the agent counts them, and raises the number to have another.
        epoch: u32,
    },
}

/// What the enclave answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one reply at a time, and an identity in one of thousands"
)]
pub enum Reply {
    /// To `Initialize`.
    Identity(Identity),
    /// To `Attest`.
    Evidence(Box<AttestedEvidence>),
    /// To `Sample`.
    Sample(Box<Sample>),
    /// To `CloseWindow`.
    Window(Box<SignedWindow>),
    /// To `Heartbeat`, `Suspend` and `Resume`.
    Alive(Vitals),
    /// To `Rotate`.
    Rotated(Box<Rotated>),
    /// To `Certify`: the certificate in DER.
    Certificate(Vec<u8>),
    /// To `SignAttestation`.
    Attestation(Signature),
    /// To `Provision`.
    Provisioned {
        /// SHA-256 of the sealed secret that is kept now.
        sealed: Digest32,
    },
    /// The request was refused; nothing changed.
    Refused(EnclaveFault),
    /// To `Vouch`. No window names this evidence.
    Vouched(Box<AttestedEvidence>),
    /// To `SignBatch`.
    Batch(Box<SignedHead>),
    /// To `StorageKey`.
    StorageKey {
        /// The key.
        key: StorageKey,
        /// What it is made from, and so what it outlives.
        origin: StorageKeyOrigin,
    },
}

/// Who an enclave is in this boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The TEE it runs in.
    pub tee: TeeKind,
    /// This run.
    pub boot: BootId,
    /// The key it signs with.
    pub tee_key: PublicKey,
    /// Its key over P-256 for chains that want one, SEC1 compressed, and the signing key's signature over it.
    pub p256: P256Key,
    /// Its X25519 key, to which secrets are encrypted; evidence binds it as the channel key.
    pub channel_key: PublicKey,
    /// How its state is kept.
    pub state: StateFacts,
}

/// A key over P-256 that belongs to the signing key's holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct P256Key {
    /// SEC1 compressed: 33 bytes.
    pub key: Vec<u8>,
    /// The signing key's over the key's message.
    pub signature: Signature,
}

/// How an enclave's state is kept, and whether it is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFacts {
    /// Starts of the enclave with this state, this one included.
    pub generation: u64,
    /// What protects it at rest; none where the TEE seals nothing and the state ends with the process.
    pub protection: Option<String>,
    /// Whether the TEE protects it, and not a mere file mode.
    pub sealed_by_tee: bool,
    /// Whether an old copy would be noticed.
    pub rollback: Rollback,
    /// When the signing keys were made, by the host's clock; none until the host told the time.
    pub keys_made_at: Option<UnixMillis>,
    /// Keys that signed before, newest first: they verify what they signed, and sign no more.
    pub retired: Vec<RetiredKey>,
    /// Names of the secrets that were provisioned.
    pub secrets: Vec<String>,
}

/// Whether a restored old copy of the state is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// The TEE has a counter: an old copy is refused.
    Refused,
    /// The TEE has none: an old copy cannot be told from the newest.
    Undetected,
    /// There is no state at rest.
    NotApplicable,
}

/// A key that signs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredKey {
    /// The key.
    pub tee_key: PublicKey,
    /// When it was replaced, by the host's clock.
    pub retired_at: UnixMillis,
}

/// How far an enclave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// This run.
    pub boot: BootId,
    /// Windows that it closed.
    pub windows: u64,
    /// Samples in the open window.
    pub samples: u32,
    /// Whether it signs.
    pub suspended: bool,
    /// Samples in the open batch, which no signature speaks for yet.
    pub unsigned: u32,
}

/// Evidence as the enclave hands it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedEvidence {
    /// Raw evidence.
    pub evidence: Vec<u8>,
    /// Canonical bytes of what it binds.
    pub user_data: Vec<u8>,
    /// Documents of the vendor that the platform handed out with it.
    pub endorsements: Vec<(EndorsementKind, Vec<u8>)>,
    /// The firmware's event log, where there is one.
    pub event_log: Option<Vec<u8>>,
}

/// New keys, and that the old ones name them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The enclave with its new keys.
    pub identity: Identity,
    /// The old signing key's over the rotation's message: old key, new key, time.
    pub signature: Signature,
}

/// A batch with the enclave's signature: the agent holds its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// What is signed.
    pub batch: SampleBatch,
    /// The TEE key's signature over the batch.
    pub signature: Signature,
}

/// A closed window with the enclave's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedWindow {
    /// What is signed.
    pub statement: ProofStatement,
    /// Inclusion path of the window in the boot's log.
    pub merkle_proof: Vec<Digest32>,
    /// The TEE key's signature over the statement.
    pub tee_signature: Signature,
}

/// Why the enclave refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum EnclaveFault {
    /// `Initialize` must come first.
    #[error("enclave serves no node yet")]
    NotInitialized,
    /// `Initialize` came twice.
    #[error("enclave serves a node already")]
    AlreadyInitialized,
    /// A window needs evidence for the key first.
    #[error("enclave has no evidence for its key yet")]
    NotAttested,
    /// The sample does not belong at this place.
    #[error("sample refused: {0}")]
    Sample(String),
    /// The window does not fit.
    #[error("window refused: {0}")]
    Window(String),
    /// More samples than a window may hold.
    #[error("window is full: it holds {0} samples")]
    WindowFull(u32),
    /// The TEE made no evidence.
    #[error("TEE made no evidence: {0}")]
    Attest(String),
    /// It was told to sign nothing.
    #[error("enclave is suspended")]
    Suspended,
    /// The keys cannot be replaced now.
    #[error("keys not rotated: {0}")]
    Rotate(String),
    /// Nothing can be certified.
    #[error("certificate refused: {0}")]
    Certify(String),
    /// The response cannot be signed.
    #[error("attestation response refused: {0}")]
    Attestation(String),
    /// The secret cannot be taken.
    #[error("secret refused: {0}")]
    Provision(String),
    /// The state cannot be kept.
    #[error("state cannot be kept: {0}")]
    State(String),
    /// `Initialize` named another node than the one that the state is bound to.
    #[error("enclave's state belongs to node {0}: give each node a state of its own")]
    AnotherNode(NodeId),
    /// The session is not one that the enclave vouches for.
    #[error("session not vouched for: {0}")]
    Vouch(String),
    /// `Initialize` named another node than the one that the session was opened for.
    #[error("session is about node {0}, and `Initialize` names another")]
    AnotherSession(NodeId),
    /// There is no open batch.
    #[error("there is no sample to sign")]
    NoSamples,
    /// The open batch has to be signed first.
    #[error("{0} samples are not signed yet: sign their batch first")]
    BatchOpen(u32),
    /// More samples than a batch may hold.
    #[error("batch is full: it holds {0} samples, and has to be signed first")]
    BatchFull(u32),
    /// There is no storage key.
    #[error("no storage key: {0}")]
    StorageKey(String),
}

impl EnclaveFault {
    /// Its name, as it goes over the channel.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotInitialized => "not_initialized",
            Self::AlreadyInitialized => "already_initialized",
            Self::NotAttested => "not_attested",
            Self::Sample(_) => "sample",
            Self::Window(_) => "window",
            Self::WindowFull(_) => "window_full",
            Self::Attest(_) => "attest",
            Self::Suspended => "suspended",
            Self::Rotate(_) => "rotate",
            Self::Certify(_) => "certify",
            Self::Attestation(_) => "attestation",
            Self::Provision(_) => "provision",
            Self::State(_) => "state",
            Self::AnotherNode(_) => "another_node",
            Self::Vouch(_) => "vouch",
            Self::AnotherSession(_) => "another_session",
            Self::NoSamples => "no_samples",
            Self::BatchOpen(_) => "batch_open",
            Self::BatchFull(_) => "batch_full",
            Self::StorageKey(_) => "storage_key",
        }
    }

    /// As the channel carries it: name and text for people, and the fault itself for the program.
    ///
    /// # Errors
    /// If it has no encoding.
    pub fn to_fault(&self) -> Result<Fault, PayloadError> {
        Ok(Fault {
            kind: self.kind().to_owned(),
            detail: self.to_string(),
            note: encode_bcs(self)?,
        })
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If what the channel carried is no fault of an enclave.
    pub fn of_fault(fault: &Fault) -> Result<Self, PayloadError> {
        decode_bcs(&fault.note)
    }
}

impl Payload for Request {
    fn message_type(&self) -> MessageType {
        match self {
            Self::Initialize { .. }
            | Self::Attest { .. }
            | Self::Certify { .. }
            | Self::SignAttestation { .. }
            | Self::Provision { .. }
            | Self::Vouch { .. }
            | Self::StorageKey { .. } => MessageType::Attestation,
            Self::Sample { .. } | Self::SignBatch => MessageType::PerformanceData,
            Self::CloseWindow { .. } => MessageType::ProofRequest,
            Self::Heartbeat | Self::Suspend | Self::Resume => MessageType::Heartbeat,
            Self::Rotate { .. } => MessageType::KeyRotation,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_bcs(self)
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        fitting(message_type, decode_bcs(bytes)?)
    }
}

/// A refusal travels as the channel's errors do, and so is an answer that the channel knows for one.
impl Payload for Reply {
    fn message_type(&self) -> MessageType {
        match self {
            Self::Identity(_)
            | Self::Evidence(_)
            | Self::Certificate(_)
            | Self::Attestation(_)
            | Self::Provisioned { .. }
            | Self::Vouched(_)
            // Never compressed, for it is secret.
            | Self::StorageKey { .. } => MessageType::Attestation,
            Self::Sample(_) | Self::Batch(_) => MessageType::PerformanceData,
            Self::Window(_) => MessageType::ProofResponse,
            Self::Alive(_) => MessageType::Heartbeat,
            Self::Rotated(_) => MessageType::KeyRotation,
            Self::Refused(_) => MessageType::Error,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        match self {
            Self::Refused(fault) => encode_bcs(&fault.to_fault()?),
            reply => encode_bcs(reply),
        }
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        if message_type == MessageType::Error {
            return Ok(Self::Refused(EnclaveFault::of_fault(&decode_bcs(bytes)?)?));
        }
        fitting(message_type, decode_bcs(bytes)?)
    }
}

/// What was read, if it belongs into a message of this type.
fn fitting<T: Payload>(message_type: MessageType, content: T) -> Result<T, PayloadError> {
    let own = content.message_type();
    if own == message_type {
        Ok(content)
    } else {
        Err(PayloadError(format!("its content is of type {own}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_travels_under_its_own_type_alone() {
        let request = Request::Initialize {
            node: NodeId([1; 32]),
        };
        let bytes = request.encode().unwrap();
        for message_type in MessageType::ALL {
            let read = Request::decode(message_type, &bytes);
            if message_type == MessageType::Attestation {
                assert_eq!(read, Ok(request.clone()));
            } else {
                let what = PayloadError("its content is of type attestation".to_owned());
                assert_eq!(read, Err(what), "{message_type}");
            }
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        let trailing = Request::decode(MessageType::Attestation, &longer).unwrap_err();
        assert!(trailing.0.contains("remaining input"), "{trailing}");
    }

    #[test]
    fn what_asks_whether_it_is_alive_is_not_taken_for_the_channels_own_heartbeat() {
        for request in [Request::Heartbeat, Request::Suspend, Request::Resume] {
            assert_eq!(request.message_type(), MessageType::Heartbeat);
            assert_eq!(request.encode().unwrap().len(), 1, "and the channel's has none");
        }
    }

    #[test]
    fn a_refusal_comes_back_as_the_fault_that_it_was() {
        for fault in [
            EnclaveFault::NotAttested,
            EnclaveFault::Attest("EIO".to_owned()),
            EnclaveFault::AnotherNode(NodeId([2; 32])),
            EnclaveFault::AnotherSession(NodeId([3; 32])),
            EnclaveFault::BatchOpen(3),
            EnclaveFault::StorageKey("it is too short".to_owned()),
        ] {
            let reply = Reply::Refused(fault.clone());
            assert_eq!(reply.message_type(), MessageType::Error);
            let bytes = reply.encode().unwrap();
            let carried: Fault = decode_bcs(&bytes).unwrap();
            assert_eq!(
                (carried.kind.as_str(), &carried.detail),
                (fault.kind(), &fault.to_string())
            );
            assert_eq!(Reply::decode(MessageType::Error, &bytes), Ok(reply));
        }
        // A refusal as an ordinary answer is none.
        let smuggled = encode_bcs(&Reply::Refused(EnclaveFault::Suspended)).unwrap();
        let read = Reply::decode(MessageType::Attestation, &smuggled);
        assert_eq!(read, Err(PayloadError("its content is of type error".to_owned())));
    }
}
