//! Intel TDX: quotes of a trust domain (versions 4 and 5, ECDSA P-256) and their verification.

#[cfg(feature = "attest")]
mod attest;
mod wire;

#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
pub use wire::{Quote, TdReport, TdReport15, TdReport15Ex, parse_quote, recognises};

#[cfg(feature = "verify")]
pub use verify::Verifier;
