//! Fake devices and services. What they sign, a fake vendor vouches for; each can misbehave in the ways that devices do.

pub mod aesm;
pub mod gramine;
pub mod keystone;
pub mod nsm;
pub mod optee;
pub mod qgs;
pub mod sev_guest;
pub mod tdx_guest;
pub mod tpm;
pub mod tsm;
