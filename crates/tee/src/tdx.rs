//! Intel TDX: quotes of a trust domain (versions 4 and 5, ECDSA P-256) and their verification.

#[cfg(feature = "attest")]
mod attest;
mod wire;

#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(feature = "attest")]
pub use attest::{parse_quote_response, quote_request};
pub use wire::{Quote, TdReport, TdReport15, TdReport15Ex, parse_quote, recognises};

#[cfg(feature = "verify")]
pub use verify::Verifier;

/// What attester and verifier call the evidence.
#[cfg(any(feature = "attest", feature = "verify"))]
const FORMAT: &str = "TDX quote version 4 or 5";
