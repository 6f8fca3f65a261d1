//! TPM 2.0: quotes of measured boot, their verification, and the enrolment of the keys that sign them.

mod credential_file;
mod evidence;
mod public;
mod wire;

#[cfg(feature = "attest")]
mod ak;
#[cfg(feature = "attest")]
mod attest;
#[cfg(feature = "attest")]
mod client;
#[cfg(feature = "attest")]
mod prover;
#[cfg(feature = "attest")]
mod seal;
#[cfg(feature = "attest")]
mod template;

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

#[cfg(any(feature = "attest", feature = "verify"))]
use nautilus_core::{Descriptor, TeeKind};

#[cfg(feature = "attest")]
pub use attest::TpmAttester;
#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(feature = "attest")]
pub use client::{MAX_RESPONSE, Tpm, Transport};
pub use credential_file::Credential;
pub use evidence::{Evidence, FORMAT, MAX_LEN, PcrValues, recognises};
#[cfg(feature = "attest")]
pub use prover::{EnrolmentRequest, answer_credential};
pub use public::{Curve, Public, PublicKey};
#[cfg(feature = "attest")]
pub use seal::TpmSealer;
#[cfg(feature = "attest")]
pub use template::EkKind;
pub use wire::{AlgorithmId, Attest, ClockInfo, HashAlgorithm, PCR_COUNT, PcrSelection, Signature};

#[cfg(feature = "verify")]
pub use credential::Randomness;
#[cfg(feature = "verify")]
pub use endorsement_key::EndorsementKey;
#[cfg(feature = "verify")]
pub use enrolment::{ANCHOR_FORMAT, ENROLMENT_FORMAT, EnrolledKey, Enrolment};
#[cfg(feature = "verify")]
pub use verify::Verifier;

/// What attester and verifier say they are.
#[cfg(any(feature = "attest", feature = "verify"))]
const DESCRIPTOR: Descriptor = Descriptor {
    tee: TeeKind::Tpm,
    format: "TPM 2.0 quote",
};

#[cfg(test)]
#[cfg(feature = "attest")]
mod tests;
