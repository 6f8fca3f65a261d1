//! One file a command.

pub mod agent;
pub mod attest;
pub mod config;
pub mod detect;
pub mod enclave;
pub mod endorsements;
pub mod enroll;
pub mod ledger;
pub mod measure;
pub mod metrics;
pub mod policy;
pub mod proof;
pub mod up;
pub mod verifier;
pub mod verify;
pub mod wallet;
