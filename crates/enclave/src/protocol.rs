//! What agent and enclave say to each other: one request, one reply, each a frame of
//! `length u32 LE ‖ BCS`.

use nautilus_core::{
    BootId, Challenge, Digest32, NodeId, PublicKey, Purpose, Signature, TeeKind, UnixMillis,
};
use nautilus_proof::{Metrics, ProofStatement, SignedSample};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest frame: evidence is bounded by [`nautilus_core::MAX_EVIDENCE`], and a proof carries no samples here.
pub const MAX_FRAME: u32 = 1024 * 1024;

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
    /// Number, chain and sign a sample.
    Sample {
        /// When it was measured.
        at: UnixMillis,
        /// What was measured.
        metrics: Metrics,
    },
    /// Close the window, append it to the log, and sign.
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
}

/// What the enclave answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Initialize`.
    Identity(Identity),
    /// To `Attest`.
    Evidence {
        /// Raw evidence.
        evidence: Vec<u8>,
        /// Canonical bytes of what it binds.
        user_data: Vec<u8>,
    },
    /// To `Sample`.
    Sample(SignedSample),
    /// To `CloseWindow`.
    Window(Box<SignedWindow>),
    /// The request was refused; nothing changed.
    Refused(EnclaveFault),
}

/// Who an enclave is in this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The TEE it runs in.
    pub tee: TeeKind,
    /// This run.
    pub boot: BootId,
    /// The key it signs with.
    pub tee_key: PublicKey,
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
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than a frame may be.
    #[error("frame has {length} bytes, more than the {MAX_FRAME} allowed")]
    TooLong {
        /// Its length in bytes.
        length: u64,
    },
    /// Not BCS of the expected message.
    #[error("frame is not the expected message: {0}")]
    Malformed(bcs::Error),
}

/// A message as a frame.
///
/// # Errors
/// If it is too long.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let body = bcs::to_bytes(message).map_err(FrameError::Malformed)?;
    let too_long = || FrameError::TooLong {
        length: body.len() as u64,
    };
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length <= MAX_FRAME)
        .ok_or_else(too_long)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message of a frame's body.
///
/// # Errors
/// If it is not exactly that message.
pub fn decode_frame<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    bcs::from_bytes(body).map_err(FrameError::Malformed)
}
