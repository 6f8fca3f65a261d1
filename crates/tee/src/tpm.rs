//! TPM 2.0: quotes of measured boot, their verification, and the enrolment of the keys that sign them.

#[cfg(feature = "attest")]
mod attest;
mod evidence;
mod public;
mod wire;

#[cfg(feature = "verify")]
mod anchors;
#[cfg(feature = "verify")]
mod certificate;
#[cfg(feature = "verify")]
mod credential;
#[cfg(feature = "verify")]
mod endorsement_key;
#[cfg(feature = "verify")]
mod enrolment;
#[cfg(feature = "verify")]
mod signature;
#[cfg(feature = "verify")]
mod spki;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
pub use evidence::{Evidence, FORMAT, MAX_LEN, PcrValues, recognises};
pub use public::{Curve, Public, PublicKey};
pub use wire::{AlgorithmId, Attest, ClockInfo, HashAlgorithm, PCR_COUNT, PcrSelection, Signature};

#[cfg(feature = "verify")]
pub use credential::{Credential, Randomness};
#[cfg(feature = "verify")]
pub use endorsement_key::EndorsementKey;
#[cfg(feature = "verify")]
pub use enrolment::{ANCHOR_FORMAT, ENROLMENT_FORMAT, EnrolledKey, Enrolment};
#[cfg(feature = "verify")]
pub use verify::Verifier;
