//! The node's daemon: configuration, enclave, attestation, sampling, proofs, and the node page.

pub mod attest;
mod backoff;
mod clock;
pub mod config;
pub mod enclave_process;
pub mod event;
#[cfg(test)]
mod fake_verifier;
pub mod hub;
pub mod identity;
pub mod key_manager;
pub mod page;
pub mod runner;
mod submitter;
mod verifier_client;
pub mod wallet;

pub use nautilus_verifier::told;
pub use verifier_client::{VerifierClient, VerifierError};
