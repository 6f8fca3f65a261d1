//! The trusted execution environments that Nautilus knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Assurance;

/// A kind of TEE. Its names are those of the specification's `tee_type`, with `tdx`, `tpm`, `nitro` and
/// `simulated` beside its four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeeKind {
    /// Intel SGX enclave.
    Sgx,
    /// Intel TDX trust domain.
    Tdx,
    /// AMD SEV-SNP guest.
    Sev,
    /// ARM TrustZone: OP-TEE or PSA.
    TrustZone,
    /// RISC-V Keystone enclave.
    Keystone,
    /// TPM 2.0 measured boot.
    Tpm,
    /// AWS Nitro enclave.
    Nitro,
    /// The laptop's stand-in. Its evidence has a real format and a test vendor's root; no production
    /// verifier set accepts it.
    Simulated,
}

impl TeeKind {
    /// Every kind, in the specification's order of preference (§1.A `detectTEEHardware`), with those it
    /// does not name after those that it does.
    pub const ALL: [Self; 8] = [
        Self::Sgx,
        Self::Tdx,
        Self::Sev,
        Self::TrustZone,
        Self::Keystone,
        Self::Tpm,
        Self::Nitro,
        Self::Simulated,
    ];

    /// The name used in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::Sev => "sev",
            Self::TrustZone => "trustzone",
            Self::Keystone => "keystone",
            Self::Tpm => "tpm",
            Self::Nitro => "nitro",
            Self::Simulated => "simulated",
        }
    }

    /// What evidence of this kind can vouch for at most.
    pub const fn assurance(self) -> Assurance {
        match self {
            Self::Tdx | Self::Sev | Self::Nitro => Assurance::HardwareVm,
            Self::Sgx | Self::TrustZone | Self::Keystone => Assurance::HardwareEnclave,
            Self::Tpm => Assurance::MeasuredBoot,
            Self::Simulated => Assurance::Simulated,
        }
    }
}

impl fmt::Display for TeeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no TEE's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown TEE `{0}`: expected one of sgx, tdx, sev, trustzone, keystone, tpm, nitro, simulated")]
pub struct UnknownTee(String);

impl FromStr for TeeKind {
    type Err = UnknownTee;

    fn from_str(name: &str) -> Result<Self, UnknownTee> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownTee(name.to_owned()))
    }
}
