//! What Intel SGX and TDX share: quotes that Intel's Data Center Attestation Primitives (DCAP) sign and
//! endorse.
//!
//! `wire` reads bytes and needs no cryptography. The rest turns `dcap-qvl`, which checks the signatures,
//! into something that can be relied upon: what it does not check is checked before and after it, what it
//! says in text becomes a typed error, and what it lets vary among unsigned bytes is reported.
//!
//! - [`wire`]: the quote header, the enclave report and the signature data.
//! - `chain`: the PCK certificate chain in a quote, and the platform that it names.
//! - `collateral`: which of the documents offered fits, is current, and was signed in the right role.
//! - `examination`: a quote under one of these documents.
//! - `verify`: the order of it all.
//! - `memory`: what was verified before, so that a known platform's next quote costs one signature.
//! - `crypto`: signatures and digests.
//! - `container`: SGX quotes of versions 4 and 5 in the form that `dcap-qvl` reads.
//! - `fault`: `dcap-qvl`'s messages as errors.
//! - `tcb`: the verdict on the platform, and which component falls short of what.
//! - `unsigned`: deviations among bytes that no signature covers.

pub mod wire;

#[cfg(feature = "verify")]
mod chain;
#[cfg(feature = "verify")]
mod collateral;
#[cfg(feature = "verify")]
mod container;
#[cfg(feature = "verify")]
mod crypto;
#[cfg(feature = "verify")]
mod examination;
#[cfg(feature = "verify")]
mod fault;
#[cfg(feature = "verify")]
mod memory;
#[cfg(feature = "verify")]
mod tcb;
#[cfg(feature = "verify")]
mod unsigned;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "verify")]
pub(crate) use memory::Memory;
#[cfg(feature = "verify")]
pub(crate) use verify::{Family, Root, Subject, graver_fault, verify, wants};
