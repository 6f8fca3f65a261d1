//! AWS Nitro Enclaves: attestation documents, their making and their verification.

#[cfg(feature = "attest")]
mod attest;
#[cfg(feature = "verify")]
mod chain;
#[cfg(feature = "verify")]
mod crl;
#[cfg(any(feature = "attest", feature = "verify"))]
mod document;
#[cfg(feature = "attest")]
mod response;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(any(feature = "attest", feature = "verify"))]
pub use document::{Document, parse_document, recognises};
#[cfg(feature = "attest")]
pub use response::{Response, parse_response};
#[cfg(feature = "verify")]
pub use verify::Verifier;

#[cfg(test)]
#[cfg(feature = "verify")]
mod tests;
