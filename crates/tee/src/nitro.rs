//! AWS Nitro Enclaves: attestation documents and their verification.

#[cfg(feature = "attest")]
mod attest;
#[cfg(feature = "verify")]
mod chain;
#[cfg(feature = "verify")]
mod crl;
#[cfg(feature = "verify")]
mod document;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(feature = "verify")]
pub use document::{Document, parse_document, recognises};
#[cfg(feature = "verify")]
pub use verify::Verifier;

#[cfg(test)]
#[cfg(feature = "verify")]
mod tests;
