//! ARM TrustZone and its kin: PSA attestation tokens and Arm CCA attestation tokens, and their verification.

#[cfg(feature = "verify")]
pub(crate) mod cca;
#[cfg(feature = "verify")]
mod claims;
#[cfg(feature = "verify")]
pub(crate) mod enrolled;
#[cfg(feature = "verify")]
pub(crate) mod psa;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "verify")]
pub use verify::Verifier;
