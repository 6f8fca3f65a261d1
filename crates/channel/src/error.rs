//! Why there is no channel, or no longer.

use std::time::Duration;

use nautilus_core::{UnixMillis, VerifyError};
use serde::{Deserialize, Serialize};

use crate::credential::MAX_VERDICT;
use crate::message::{MessageType, Termination};

/// What one end tells the other before it gives up, or in the place of an answer. Wire type: untrusted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The fault's name: [`ChannelError::kind`], or a name of the application's.
    pub kind: String,
    /// What is wrong, for people.
    pub detail: String,
    /// What the application adds, such as the findings of a rejecting appraisal.
    #[serde(with = "crate::bytes")]
    pub note: Vec<u8>,
}

impl Fault {
    /// The same, no longer than a peer takes it during the handshake: an overlong detail is cut, an overlong note left
    /// out.
    pub(crate) fn bounded(mut self) -> Self {
        const MAX_DETAIL: usize = 16 * 1024;
        let end = self.detail.floor_char_boundary(MAX_DETAIL);
        self.detail.truncate(end);
        // Kinds are short, and so are the lengths of the three.
        const REST: usize = 1024;
        if self.note.len().saturating_add(MAX_DETAIL).saturating_add(REST) > MAX_VERDICT {
            self.note = Vec::new();
        }
        self
    }
}

/// Why a channel cannot be opened, or ended. Every one but an answered [`Fault`] ends the channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The transport failed.
    #[error("connection broke: {0}")]
    Io(String),
    /// The connection ended in the middle, without the peer's word that it is over.
    #[error("connection ended without a termination: the peer died, or somebody cut it")]
    Truncated,
    /// The peer speaks no TLS 1.3.
    #[error("peer does not offer TLS 1.3, and nothing older is spoken")]
    VersionDowngraded,
    /// The keys were not exchanged by the hybrid group.
    #[error("key exchange used group {group}, and only X25519MLKEM768 is accepted")]
    GroupDowngraded {
        /// What was used, or `none in common`.
        group: String,
    },
    /// The peer did not say that it speaks this protocol.
    #[error("peer did not agree on the protocol `nautilus/1` (ALPN)")]
    ProtocolNotAgreed,
    /// The peer gave no certificate, or one that cannot be read.
    #[error("peer's session certificate is missing or malformed")]
    CertificateInvalid,
    /// The peer does not hold the key in its certificate.
    #[error("peer did not prove that it holds its session key (CertificateVerify)")]
    KeyProofInvalid,
    /// A record that was changed, repeated, dropped or moved on its way.
    #[error("a record does not authenticate: it was changed, repeated, dropped or reordered on its way")]
    RecordForged,
    /// A record longer than TLS allows.
    #[error("a record is longer than TLS allows")]
    RecordOversized,
    /// The peer's TLS gave up.
    #[error("peer ended TLS with alert {0}")]
    Alert(String),
    /// Anything else that TLS does not take.
    #[error("peer broke TLS: {0}")]
    Tls(String),
    /// No frame of this protocol.
    #[error("frame is malformed: {0}")]
    FrameMalformed(&'static str),
    /// A frame of another version.
    #[error("frame has version {found}, and only 1 is spoken")]
    FrameVersion {
        /// Its version.
        found: u8,
    },
    /// Longer than a message of its type may be at this point.
    #[error("{message_type} message has {length} bytes, more than the {limit} allowed")]
    PayloadTooLong {
        /// Its type.
        message_type: MessageType,
        /// What it claims to have, in bytes.
        length: u64,
        /// What it may have, in bytes.
        limit: usize,
    },
    /// The content is not of its type.
    #[error("{message_type} message is not what its type says: {what}")]
    PayloadInvalid {
        /// Its type.
        message_type: MessageType,
        /// What is wrong.
        what: String,
    },
    /// A message came once more.
    #[error("message {found} came again: the next is {expected}")]
    SequenceRepeated {
        /// The number that is due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A message is missing.
    #[error("message {found} came, and {expected} is missing")]
    SequenceGap {
        /// The number that is due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// Compressed, and must not be.
    #[error("{0} message is compressed, which its type must not be")]
    CompressionForbidden(MessageType),
    /// Does not expand to what it says.
    #[error("compressed message does not expand to the {expected} bytes that it says: {what}")]
    ExpansionInvalid {
        /// What it says.
        expected: usize,
        /// What came of it.
        what: String,
    },
    /// The peer sent something else where its hello, credential or verdict is due.
    #[error("peer gave no evidence: where its {due} is due came {found}")]
    NoEvidence {
        /// What is due.
        due: &'static str,
        /// What came.
        found: String,
    },
    /// The hello does not fit.
    #[error("peer's hello does not fit: {0}")]
    HelloInvalid(String),
    /// What one presents is not what the other demands.
    #[error("peer {what}")]
    PolicyMismatch {
        /// Presents or demands what, and what was wanted.
        what: String,
    },
    /// The evidence does not verify, or is not of this session.
    #[error("peer's evidence is refused: {0}")]
    Evidence(#[from] VerifyError),
    /// The evidence verifies, and the policy does not want it.
    #[error("peer's evidence is not accepted: {detail}")]
    NotAccepted {
        /// Which findings failed.
        detail: String,
        /// What the peer is told besides.
        note: Vec<u8>,
    },
    /// The registry knows the peer otherwise.
    #[error("peer is not who the registry knows: {kind}: {detail}")]
    NotRegistered {
        /// The application's name of the fault.
        kind: String,
        /// What is wrong.
        detail: String,
    },
    /// Another long-term key than the expected, or no valid signature of it.
    #[error("peer did not sign the session with the expected key: {0}")]
    KeyUnexpected(&'static str),
    /// Our own TEE made no evidence.
    #[error("no evidence for this session: {0}")]
    NotPresented(String),
    /// The peer told why it gives up.
    #[error("peer refused ({}): {}", .0.kind, .0.detail)]
    Refused(Fault),
    /// Somebody refused who had not shown yet to be the expected peer: it may be anybody on the way.
    #[error("somebody refused before it showed who it is ({}): {}", .0.kind, .0.detail)]
    RefusedByStranger(Fault),
    /// The handshake took too long.
    #[error("handshake did not come to its {due} within {} s", after.as_secs())]
    HandshakeSlow {
        /// What was due.
        due: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Nothing came for too long, not even a heartbeat.
    #[error("peer was silent for {} s", after.as_secs())]
    PeerSilent {
        /// How long.
        after: Duration,
    },
    /// The session is over its lifetime, or the appraisal is.
    #[error("session ended at {at}: a new one takes new evidence")]
    Expired {
        /// When.
        at: UnixMillis,
    },
    /// The peer ended it in order.
    #[error("peer ended the session: {0}")]
    Terminated(Termination),
    /// Ended by this side.
    #[error("session was ended here")]
    Closed,
    /// An answer to nothing.
    #[error("peer answered a question that was not asked")]
    AnswerUnexpected,
    /// Heartbeat upon heartbeat, and none of the answers is taken.
    #[error("peer asked {0} times whether this side is alive and took no answer")]
    AnswersUnread(usize),
    /// No answer in time.
    #[error("no answer within {} s", after.as_secs())]
    NoAnswer {
        /// How long it was waited for.
        after: Duration,
    },
    /// As many sessions as there may be.
    #[error("all {0} sessions are in use")]
    SessionsFull(usize),
    /// As many handshakes under way as there may be.
    #[error("{0} handshakes are under way already")]
    HandshakesFull(usize),
    /// The queue had no room in time.
    #[error("queue of {0} messages had no room within 5 s: the other side is slower than this one")]
    QueueFull(usize),
    /// It is not what it must be for this.
    #[error("peer is {found}, and this takes one that is {wanted}")]
    Standing {
        /// What it is.
        found: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl ChannelError {
    /// The error's name, stable, as it goes over the wire and into logs.
    pub fn kind(&self) -> &str {
        match self {
            Self::Io(_) => "io",
            Self::Truncated => "truncated",
            Self::VersionDowngraded => "version_downgraded",
            Self::GroupDowngraded { .. } => "group_downgraded",
            Self::ProtocolNotAgreed => "protocol_not_agreed",
            Self::CertificateInvalid => "certificate_invalid",
            Self::KeyProofInvalid => "key_proof_invalid",
            Self::RecordForged => "record_forged",
            Self::RecordOversized => "record_oversized",
            Self::Alert(_) => "alert",
            Self::Tls(_) => "tls",
            Self::FrameMalformed(_) => "frame_malformed",
            Self::FrameVersion { .. } => "frame_version",
            Self::PayloadTooLong { .. } => "payload_too_long",
            Self::PayloadInvalid { .. } => "payload_invalid",
            Self::SequenceRepeated { .. } => "sequence_repeated",
            Self::SequenceGap { .. } => "sequence_gap",
            Self::CompressionForbidden(_) => "compression_forbidden",
            Self::ExpansionInvalid { .. } => "expansion_invalid",
            Self::NoEvidence { .. } => "no_evidence",
            Self::HelloInvalid(_) => "hello_invalid",
            Self::PolicyMismatch { .. } => "policy_mismatch",
            Self::Evidence(VerifyError::SessionMismatch { .. }) => "session_mismatch",
            Self::Evidence(_) => "evidence_invalid",
            Self::NotAccepted { .. } => "not_accepted",
            Self::NotRegistered { kind, .. } => kind,
            Self::KeyUnexpected(_) => "key_unexpected",
            Self::NotPresented(_) => "not_presented",
            Self::Refused(fault) => &fault.kind,
            Self::RefusedByStranger(_) => "refused_by_stranger",
            Self::HandshakeSlow { .. } => "handshake_slow",
            Self::PeerSilent { .. } => "peer_silent",
            Self::Expired { .. } => "expired",
            Self::Terminated(_) => "terminated",
            Self::Closed => "closed",
            Self::AnswerUnexpected => "answer_unexpected",
            Self::AnswersUnread(_) => "answers_unread",
            Self::NoAnswer { .. } => "no_answer",
            Self::SessionsFull(_) => "sessions_full",
            Self::HandshakesFull(_) => "handshakes_full",
            Self::QueueFull(_) => "queue_full",
            Self::Standing { .. } => "standing",
        }
    }

    /// Whether another try may do better: the fault lies in the connection or in the moment, not in who takes part.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Io(_)
            | Self::Truncated
            | Self::RecordForged
            | Self::HandshakeSlow { .. }
            | Self::PeerSilent { .. }
            | Self::Expired { .. }
            | Self::Terminated(_)
            | Self::Closed
            | Self::NoAnswer { .. }
            | Self::SessionsFull(_)
            | Self::HandshakesFull(_)
            | Self::QueueFull(_)
            | Self::RefusedByStranger(_) => true,
            Self::Refused(fault) => matches!(
                fault.kind.as_str(),
                "sessions_full"
                    | "handshakes_full"
                    | "queue_full"
                    | "busy"
                    | "handshake_slow"
                    | "expired"
                    | "peer_silent"
                    | "shutting_down"
            ),
            _ => false,
        }
    }

    /// What the peer is told.
    pub(crate) fn fault(&self) -> Fault {
        Fault {
            kind: self.kind().to_owned(),
            detail: self.to_string(),
            note: match self {
                Self::NotAccepted { note, .. } => note.clone(),
                _ => Vec::new(),
            },
        }
    }
}

impl From<std::io::Error> for ChannelError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::ConnectionReset => Self::Truncated,
            _ => Self::Io(error.to_string()),
        }
    }
}
