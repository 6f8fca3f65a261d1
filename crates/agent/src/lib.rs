//! The node's daemon: configuration, enclave, attestation, sampling, proofs, and the node page.

pub mod attest;
pub mod attestation_service;
mod clock;
pub mod config;
pub mod control;
pub mod enclave_manager;
pub mod enclave_process;
mod endorsements;
pub mod event;
#[cfg(test)]
mod fake_enclave;
#[cfg(test)]
mod fake_grounds;
#[cfg(test)]
mod fake_verifier;
pub mod hub;
pub mod identity;
pub mod key_manager;
mod local_appraiser;
pub mod monitor;
pub mod page;
pub mod runner;
mod submitter;
mod task;
mod verifier_client;
pub mod wallet;

pub use endorsements::EndorsementsError;
pub use local_appraiser::LocalAppraiser;
pub use nautilus_verifier::told;
pub use verifier_client::{VerifierAddress, VerifierClient, VerifierError};
