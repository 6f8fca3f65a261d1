//! ARM TrustZone and its kin: OP-TEE's attestation service, PSA attestation tokens and Arm CCA attestation
//! tokens, and their verification.

#[cfg(feature = "attest")]
mod attest;
#[cfg(feature = "verify")]
pub(crate) mod cca;
#[cfg(feature = "verify")]
mod claims;
#[cfg(feature = "verify")]
pub(crate) mod enrolled;
pub mod optee;
#[cfg(feature = "verify")]
pub(crate) mod psa;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(feature = "verify")]
pub use verify::Verifier;
