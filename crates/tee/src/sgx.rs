//! Intel SGX: quotes of an enclave (versions 3 to 5, ECDSA P-256), their making and their verification.

#[cfg(feature = "attest")]
mod attest;
mod wire;

#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub use attest::aesm::message as aesm_message;
#[cfg(feature = "attest")]
pub(crate) use attest::platform;
pub use wire::{Quote, parse_quote, recognises};

#[cfg(feature = "verify")]
pub use verify::Verifier;
