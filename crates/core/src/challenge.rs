//! Challenges and what evidence binds: the first arrow of the pipeline.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::Digest48;
use crate::{
    BootId, Digest32, EvidenceId, Kind, NodeId, PublicKey, SessionBinding, SignedMessage, TeeKind, UnixMillis,
};

/// Why evidence is asked for (specification §2.A `AttestationRequestType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// At the start of a boot of the enclave.
    Boot,
    /// While the node runs.
    Runtime,
    /// For a window of metrics.
    Performance,
    /// For a workload that starts.
    Workload,
}

impl Purpose {
    /// The name used on the command line and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Runtime => "runtime",
            Self::Performance => "performance",
            Self::Workload => "workload",
        }
    }
}

/// What a verifier commits to when it challenges a node. Wire type: trust it only if it came from, or is
/// remembered by, the verifier that issued it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeTerms {
    /// The verifier's own key, so that evidence for one verifier is useless to another.
    pub verifier: PublicKey,
    /// The node that is asked.
    pub node: NodeId,
    /// What for.
    pub purpose: Purpose,
    /// 32 random bytes.
    pub nonce: Digest32,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// From when on evidence for it is stale.
    pub expires_at: UnixMillis,
}

impl SignedMessage for ChallengeTerms {
    const KIND: Kind = Kind::Challenge;
}

impl ChallengeTerms {
    /// The challenge that evidence has to answer.
    pub fn challenge(&self) -> Challenge {
        Challenge(self.digest())
    }
}

/// The 32 bytes that evidence must carry in the first half of its report data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Challenge(Digest32);

impl Challenge {
    /// A challenge whose terms only its issuer knows (`nautilus attest --challenge HEX`).
    pub const fn from_digest(digest: Digest32) -> Self {
        Self(digest)
    }

    /// The challenge bytes.
    pub const fn digest(&self) -> Digest32 {
        self.0
    }

    /// The report data that answers this challenge and binds `user_data`: the challenge, then
    /// SHA-256 of the user data's canonical bytes (specification §2.A `generateSGXQuote`).
    pub fn bind(&self, user_data: &BoundUserData) -> ReportData {
        self.bind_bytes(&user_data.to_bytes())
    }

    pub(crate) fn bind_bytes(&self, user_data: &[u8]) -> ReportData {
        let mut bytes = [0; 64];
        let (challenge, bound) = bytes.split_at_mut(32);
        challenge.copy_from_slice(&self.0.0);
        bound.copy_from_slice(&Sha256::digest(user_data));
        ReportData(bytes)
    }
}

/// 64 bytes that a TEE signs for its caller. Made only by [`Challenge::bind`].
///
/// ```compile_fail,E0423
/// let forged = nautilus_core::ReportData([0; 64]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportData([u8; 64]);

impl ReportData {
    /// The bytes to hand to the TEE.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// What stands in for the bytes where a TEE signs 32 and no more: their SHA-256.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

/// Head and length of the node's event log when evidence was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLogHead {
    /// SHA-384 chain value; zero for the empty log.
    pub digest: Digest48,
    /// Number of events.
    pub length: u64,
}

impl EventLogHead {
    /// The head of a log without events.
    pub const EMPTY: Self = Self {
        digest: Digest48([0; 48]),
        length: 0,
    };
}

/// Everything that evidence binds besides the challenge. Its canonical bytes travel with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundUserData {
    /// Why the evidence was made.
    pub purpose: Purpose,
    /// The node that the enclave serves.
    pub node: NodeId,
    /// The kind of TEE that the enclave believes it runs in.
    pub tee: TeeKind,
    /// This run of the enclave.
    pub boot: BootId,
    /// The key that signs samples and proofs; its private half was made inside and never leaves.
    pub tee_key: PublicKey,
    /// The static key of the enclave's attested channel; none while it has no channel.
    pub channel_key: Option<PublicKey>,
    /// The node's event log at this moment.
    pub event_log: EventLogHead,
    /// The session of the attested channel that the evidence was made for; none for evidence that opens no session.
    pub session: Option<SessionBinding>,
}

impl SignedMessage for BoundUserData {
    const KIND: Kind = Kind::UserData;
}

impl BoundUserData {
    /// Reads canonical bytes back; anything but the exact encoding gives none. Untrusted until evidence binds it.
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        let payload = bytes.get(crate::MAGIC.len().checked_add(2)?..)?;
        let user_data: Self = bcs::from_bytes(payload).ok()?;
        (user_data.to_bytes() == bytes).then_some(user_data)
    }
}

/// What an [`EvidenceId`] is the digest of. Not the quote: a quote has bytes that no signature covers,
/// and its signatures have two valid forms, so its hash names nothing.
#[derive(Serialize)]
struct EvidenceName {
    tee: TeeKind,
    challenge: Digest32,
    user_data: Digest32,
}

impl SignedMessage for EvidenceName {
    const KIND: Kind = Kind::Evidence;
}

impl EvidenceId {
    /// The id of evidence of kind `tee` with this report data. Where the format has no room for the 64 bytes, the
    /// name holds the SHA-256 of what was signed, and no digest of user data.
    pub fn of(tee: TeeKind, report_data: &[u8]) -> Self {
        let (mut challenge, mut user_data) = ([0; 32], [0; 32]);
        match report_data.split_at_checked(32) {
            Some((first, second)) if second.len() == 32 => {
                challenge.copy_from_slice(first);
                user_data.copy_from_slice(second);
            }
            _ => challenge.copy_from_slice(&Sha256::digest(report_data)),
        }
        let name = EvidenceName {
            tee,
            challenge: Digest32(challenge),
            user_data: Digest32(user_data),
        };
        Self(name.digest().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_data() -> BoundUserData {
        BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([1; 32]),
            tee: TeeKind::Simulated,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        }
    }

    #[test]
    fn report_data_is_challenge_then_hash_of_user_data() {
        let bound = Challenge::from_digest(Digest32([9; 32])).bind(&user_data());
        assert_eq!(bound.as_bytes()[..32], [9; 32]);
        assert_eq!(bound.as_bytes()[32..], Sha256::digest(user_data().to_bytes())[..]);
    }

    #[test]
    fn only_the_canonical_bytes_read_back() {
        let bytes = user_data().to_bytes();
        assert_eq!(BoundUserData::from_canonical(&bytes), Some(user_data()));
        for length in 0..bytes.len() {
            assert_eq!(
                BoundUserData::from_canonical(&bytes[..length]),
                None,
                "truncated to {length}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(BoundUserData::from_canonical(&longer), None);
        for header_byte in 0..10 {
            let mut other = bytes.clone();
            other[header_byte] ^= 1;
            assert_eq!(
                BoundUserData::from_canonical(&other),
                None,
                "header byte {header_byte}"
            );
        }
    }

    #[test]
    fn every_part_of_the_terms_enters_the_challenge() {
        let terms = ChallengeTerms {
            verifier: PublicKey([1; 32]),
            node: NodeId([2; 32]),
            purpose: Purpose::Boot,
            nonce: Digest32([3; 32]),
            issued_at: UnixMillis(4),
            expires_at: UnixMillis(5),
        };
        let variants = [
            ChallengeTerms {
                verifier: PublicKey([0; 32]),
                ..terms.clone()
            },
            ChallengeTerms {
                node: NodeId([0; 32]),
                ..terms.clone()
            },
            ChallengeTerms {
                purpose: Purpose::Runtime,
                ..terms.clone()
            },
            ChallengeTerms {
                nonce: Digest32([0; 32]),
                ..terms.clone()
            },
            ChallengeTerms {
                issued_at: UnixMillis(0),
                ..terms.clone()
            },
            ChallengeTerms {
                expires_at: UnixMillis(0),
                ..terms.clone()
            },
        ];
        for variant in variants {
            assert_ne!(variant.challenge(), terms.challenge(), "{variant:?}");
        }
    }
}
