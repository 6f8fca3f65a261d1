//! The vocabulary of Nautilus and its sealed pipeline.
//!
//! `Challenge → Evidence → Verified<Claims> → Appraisal`: every arrow's output has private fields
//! and one constructor, the stage before it. Nothing here does I/O, reads a clock or blocks; `now`
//! is always an argument. Names follow RATS (RFC 9334).

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod appraisal;
mod attest;
mod challenge;
mod claims;
mod ear;
mod endorsements;
mod evidence;
mod id;
mod message;
mod policy;
mod sealing;
mod session;
mod tee;
mod time;
mod trust;
mod verify;

pub use appraisal::{Appraisal, AppraisalVerdict, Finding, ReferenceState, ReferenceValue};
pub use attest::{AttestError, Attester, RawEvidence};
pub use challenge::{BoundUserData, Challenge, ChallengeTerms, EventLogHead, Purpose, ReportData};
pub use claims::{
    Assurance, Claims, DeviceIdentity, LoggedEvent, Measurement, RESETTABLE_PCR_PREFIX, RESETTABLE_PCRS,
    Revocation, Shortfall, Tcb, TcbStatus, UnsignedFact, Verified,
};
pub use ear::{EAR_PROFILE, Ear, TrustTier, TrustVector, trust_tier, trust_vector};
pub use endorsements::{Endorsement, EndorsementKind, Endorsements, Want};
pub use evidence::{Evidence, EvidenceFile, EvidenceFileError, MAX_EVIDENCE, MAX_EVIDENCE_FILE};
pub use id::{
    BootId, Digest32, Digest48, EvidenceId, NodeId, ParseIdError, PolicyId, PublicKey, Signature, SuiAddress,
};
pub use message::{Kind, MAGIC, SignedMessage, VERSION, verify_ed25519};
pub use policy::{Expect, Policy, PolicyError, PolicyWarning, RuleNote, pinned_policy, policy_template};
pub use sealing::{Counter, Protection, SealError, Sealer};
pub use session::{End, Role, SessionBinding};
pub use tee::{TeeKind, UnknownTee};
pub use time::{ParseTimeError, UnixMillis};
pub use trust::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors, UnknownRole};
pub use verify::{Binding, Descriptor, RawClaims, TeeVerifier, VerifierSet, VerifierSetError, VerifyError};
