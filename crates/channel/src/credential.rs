//! What the two ends say to each other before the channel is open, and how each is judged.

use nautilus_core::{
    Appraisal, ChallengeTerms, Digest32, Endorsement, EndorsementKind, Endorsements, Evidence, NodeId,
    PublicKey, Role, Signature, TeeKind, UnixMillis, VerifyError,
};
use serde::{Deserialize, Serialize};

/// Most bytes of a hello.
pub(crate) const MAX_HELLO: usize = 1024;
/// Most bytes of a credential: evidence, its event log and its endorsements.
pub(crate) const MAX_CREDENTIAL: usize = 2 * 1024 * 1024;
/// Most bytes of a verdict with its note, and of a fault.
pub(crate) const MAX_VERDICT: usize = 256 * 1024;

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialKind {
    /// None.
    Nothing,
    /// A signature by a long-term key.
    Key,
    /// Evidence of a TEE.
    Evidence,
}

impl CredentialKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Key => "a key",
            Self::Evidence => "evidence",
        }
    }
}

/// The first message of each end, a `handshake` message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the protocol: 1.
    pub version: u16,
    /// Who speaks.
    pub role: Role,
    /// The node that the session is about; none where the other end says it.
    pub node: Option<NodeId>,
    /// 32 random bytes, for this session only.
    pub nonce: Digest32,
    /// What it will present.
    pub presents: CredentialKind,
    /// What it demands of the other.
    pub demands: CredentialKind,
    /// The challenge that the other's evidence has to answer, exactly where evidence is demanded and the node is known.
    pub challenge: Option<ChallengeTerms>,
}

/// What an end presents, an `attestation` message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// Nothing was demanded.
    Nothing,
    /// A long-term key's signature over the session's binding.
    Key {
        /// The key.
        key: PublicKey,
        /// Its signature.
        signature: Signature,
    },
    /// Evidence whose user data holds the session's binding.
    Evidence(Box<PresentedEvidence>),
}

impl Credential {
    pub(crate) const fn kind(&self) -> CredentialKind {
        match self {
            Self::Nothing => CredentialKind::Nothing,
            Self::Key { .. } => CredentialKind::Key,
            Self::Evidence(_) => CredentialKind::Evidence,
        }
    }
}

/// Evidence for a session, with what it takes to judge it. Wire type: untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentedEvidence {
    /// The TEE.
    pub tee: TeeKind,
    /// Raw evidence.
    #[serde(with = "crate::bytes")]
    pub evidence: Vec<u8>,
    /// Canonical bytes of what it binds.
    #[serde(with = "crate::bytes")]
    pub user_data: Vec<u8>,
    /// The firmware's event log, where there is one.
    #[serde(with = "crate::bytes::optional")]
    pub event_log: Option<Vec<u8>>,
    /// Documents of the vendor that come along.
    #[serde(with = "crate::bytes::documents")]
    pub endorsements: Vec<(EndorsementKind, Vec<u8>)>,
    /// What the application adds: a node's registration and its wallet's signature.
    #[serde(with = "crate::bytes")]
    pub accompanying: Vec<u8>,
}

impl PresentedEvidence {
    /// As the verifiers of evidence take it.
    pub fn parts(self) -> (Evidence, Endorsements, Vec<u8>) {
        let endorsement = |(kind, bytes)| Endorsement {
            kind,
            bytes,
            origin: "the channel's peer".to_owned(),
        };
        let endorsements = self.endorsements.into_iter().map(endorsement).collect();
        let evidence = Evidence {
            tee: self.tee,
            bytes: self.evidence,
            user_data: Some(self.user_data),
            event_log: self.event_log,
        };
        (evidence, Endorsements(endorsements), self.accompanying)
    }
}

/// That the other's credential is accepted, a `handshake` message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Until when; the session ends then at the latest.
    pub accepted_until: UnixMillis,
    /// What the application adds: the outcome of the appraisal.
    #[serde(with = "crate::bytes")]
    pub note: Vec<u8>,
}

/// What a `handshake` message holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HandshakeContent {
    Hello(Box<Hello>),
    Verdict(Verdict),
}

/// How the application judges a peer's evidence.
pub enum Judgement {
    /// Verified and appraised. The channel opens if the appraisal accepts and is of this session.
    Appraised {
        /// The appraisal.
        appraisal: Box<Appraisal>,
        /// What the peer is told besides, also where the appraisal rejects.
        note: Vec<u8>,
    },
    /// It cannot be verified here; enough only for a child of this process that the kernel vouches for.
    Unverifiable(VerifyError),
    /// It does not verify.
    Invalid(VerifyError),
    /// It verifies, and the registry knows the peer otherwise, or not at all.
    NotRegistered {
        /// The fault's name.
        kind: String,
        /// What is wrong.
        detail: String,
    },
}
