//! AMD SEV-SNP: attestation reports of a guest, alone or as Azure's paravisor wraps them, and their
//! verification.
//!
//! Specifications: AMD 56860, *SEV Secure Nested Paging Firmware ABI*, chapter "Attestation" and table
//! "ATTESTATION_REPORT Structure"; AMD 57230, *Versioned Chip Endorsement Key (VCEK) Certificate and KDS
//! Interface*.
//!
//! - `wire`: the report, read by offset. Nothing is ever encoded again: what is hashed are the bytes
//!   received.
//! - `product`: families of processors, and how each lays out a TCB version.
//! - `hcl`: the wrapper in which Azure's paravisor hands a report out.
//! - `vek`: what a VCEK or VLEK says of a chip, and whether it fits a report.
//! - `roots`: AMD's certificates that are built in.
//! - `chain`: from AMD's root to the key that signed, and revocation.
//! - `verify`: the order of it all; `claims`: the report as claims.
//! - `attest`: inside a guest, how a report is asked for, and what state is sealed with.
//! - `launch`: the measurement of a guest that was not launched yet.

#[cfg(feature = "attest")]
mod attest;
mod hcl;
mod product;
mod wire;

#[cfg(feature = "verify")]
mod chain;
#[cfg(feature = "verify")]
mod claims;
#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod roots;
#[cfg(feature = "verify")]
mod vek;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub use attest::parse_certificates;
#[cfg(feature = "attest")]
pub(crate) use attest::platform;
pub use hcl::{Hcl, parse_hcl};
pub use product::{CpuId, Product, TcbVersion};
pub use wire::{
    Firmware, MitigationVectors, REPORT_LEN, Report, SIGNED_LEN, SigningKey, parse_report, recognises,
};

#[cfg(feature = "verify")]
pub use roots::Root;
#[cfg(feature = "verify")]
pub use verify::Verifier;

/// What attester and verifier call the evidence.
#[cfg(any(feature = "attest", feature = "verify"))]
const FORMAT: &str = "SNP attestation report";
