//! Fake vendors: each with a root of its own, whose keys really sign.

pub mod amd;
pub mod aws;
pub mod intel;
pub mod intel_tdx;
pub mod keystone;
pub mod optee;
