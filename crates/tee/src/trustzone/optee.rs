//! OP-TEE: evidence of its `attestation` service, and its verification against enrolled keys.

mod wire;

#[cfg(feature = "verify")]
mod enrolled;
#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod verify;

pub use wire::{Command, MAX_NONCE, OpteeEvidence, Uuid, parse, recognises};

#[cfg(feature = "verify")]
pub use verify::Verifier;
