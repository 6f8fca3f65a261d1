//! RISC-V Keystone: enclave reports and their verification against enrolled devices.

#[cfg(feature = "attest")]
mod attest;
mod json;
mod wire;

#[cfg(feature = "verify")]
mod device;
#[cfg(feature = "verify")]
mod ed25519_sha3;
#[cfg(feature = "verify")]
mod known_keys;
#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "attest")]
pub(crate) use attest::platform;
#[cfg(feature = "attest")]
pub use attest::{EDGE_CALL_LEN, EdgeCall, EdgeFault};
pub use wire::{MAX_DATA, REPORT_LEN, Report, parse_report, recognises};

#[cfg(feature = "verify")]
pub use verify::Verifier;
