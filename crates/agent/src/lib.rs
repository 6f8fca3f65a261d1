//! The node's daemon: configuration, enclave, attestation, sampling, proofs, and the node page.

pub mod attest;
mod clock;
pub mod config;
pub mod enclave_process;
pub mod event;
pub mod hub;
pub mod identity;
pub mod page;
pub mod runner;
mod submitter;
mod verifier_client;

pub use verifier_client::{VerifierClient, VerifierError};
