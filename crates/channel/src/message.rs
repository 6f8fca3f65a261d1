//! What goes through an open channel (specification §5.A `SecureMessage`).

use std::fmt;

use nautilus_core::UnixMillis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The types of messages (specification §5.A `MessageType`), and errors. The discriminant is the byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum MessageType {
    /// Who speaks, and whether the other is accepted.
    Handshake = 1,
    /// Evidence, what it is asked for with, and what comes of it.
    Attestation = 2,
    /// What was measured.
    PerformanceData = 3,
    /// Asks for a proof, or for its settlement.
    ProofRequest = 4,
    /// What comes of that.
    ProofResponse = 5,
    /// Whether the other is alive.
    Heartbeat = 6,
    /// Keys that take the place of others.
    KeyRotation = 7,
    /// The end in order.
    Termination = 8,
    /// Why something is not done, or why the sender gives up.
    Error = 9,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Handshake,
        Self::Attestation,
        Self::PerformanceData,
        Self::ProofRequest,
        Self::ProofResponse,
        Self::Heartbeat,
        Self::KeyRotation,
        Self::Termination,
        Self::Error,
    ];

    /// The type with this byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|each| *each as u8 == byte)
    }

    /// The name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Attestation => "attestation",
            Self::PerformanceData => "performance_data",
            Self::ProofRequest => "proof_request",
            Self::ProofResponse => "proof_response",
            Self::Heartbeat => "heartbeat",
            Self::KeyRotation => "key_rotation",
            Self::Termination => "termination",
            Self::Error => "error",
        }
    }

    /// Most bytes of a payload in an open channel, after expansion.
    pub const fn limit(self) -> usize {
        const KIB: usize = 1024;
        match self {
            Self::Heartbeat | Self::Termination | Self::Handshake => 4 * KIB,
            Self::KeyRotation => 64 * KIB,
            Self::Error => 256 * KIB,
            Self::PerformanceData => 1024 * KIB,
            // An evidence file in JSON.
            Self::Attestation => 4 * 1024 * KIB,
            // A proof with all its samples.
            Self::ProofRequest | Self::ProofResponse => 16 * 1024 * KIB,
        }
    }

    /// Whether it may be compressed: only what carries no text that an attacker chooses beside something secret, for
    /// the length of what is compressed together tells whether they are alike (CRIME, BREACH).
    pub const fn may_compress(self) -> bool {
        matches!(
            self,
            Self::PerformanceData | Self::ProofRequest | Self::ProofResponse
        )
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a question and its answer have in common; also when it is asked again in another session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// Of frames that belong to the channel itself.
    pub const CHANNEL: Self = Self([0; 16]);

    /// One that nobody had before.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A message that arrived, in order and authentic. Its content is the peer's word.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub message_type: MessageType,
    /// Which question, or which question is answered.
    pub message_id: MessageId,
    /// Whether it is an answer.
    pub answer: bool,
    /// Its number among the frames of its direction, from 1.
    pub sequence_num: u64,
    /// When it was sent, by the sender's clock.
    pub timestamp: UnixMillis,
    /// Whether it travelled compressed.
    pub compressed: bool,
    /// Its content, expanded.
    pub payload: Vec<u8>,
}

/// A message's content stays out of logs: it may be secret.
impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Message")
            .field("message_type", &self.message_type)
            .field("message_id", &self.message_id)
            .field("answer", &self.answer)
            .field("sequence_num", &self.sequence_num)
            .field("compressed", &self.compressed)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Why a session ends in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is nothing more to say.
    Done,
    /// It is as old as it may be: a new handshake with new evidence follows.
    Renew,
    /// It was idle, and another needs the place.
    Evicted,
    /// The same node has a newer session.
    Replaced,
    /// The sender stops.
    ShuttingDown,
}

/// The content of a `termination` message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// Why.
    pub reason: Reason,
    /// For people.
    pub detail: String,
}

impl fmt::Display for Termination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Done => "it is done",
            Reason::Renew => "it is as old as it may be",
            Reason::Evicted => "it was idle, and another needed the place",
            Reason::Replaced => "the node opened a newer one",
            Reason::ShuttingDown => "the peer stops",
        };
        match self.detail.as_str() {
            "" => formatter.write_str(reason),
            detail => write!(formatter, "{reason}: {detail}"),
        }
    }
}

/// Content that knows its type.
pub trait Payload: Sized + Send {
    /// The type under which it travels.
    fn message_type(&self) -> MessageType;

    /// Its bytes.
    ///
    /// # Errors
    /// If it has no encoding.
    fn encode(&self) -> Result<Vec<u8>, PayloadError>;

    /// Reads it back; the bytes are the peer's.
    ///
    /// # Errors
    /// If they are not exactly content of that type.
    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError>;
}

/// Why bytes are no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(pub String);

/// Content in BCS: the canonical encoding, which takes no trailing bytes.
///
/// # Errors
/// If it has no such encoding.
pub fn encode_bcs(content: &impl Serialize) -> Result<Vec<u8>, PayloadError> {
    bcs::to_bytes(content).map_err(|error| PayloadError(error.to_string()))
}

/// Content from BCS.
///
/// # Errors
/// If the bytes are not exactly that.
pub fn decode_bcs<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    bcs::from_bytes(bytes).map_err(|error| PayloadError(error.to_string()))
}
