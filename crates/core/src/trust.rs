//! What a relying party vouches for itself, where no vendor whose root is known does: enrolled device keys, and
//! roots of its choice.
//!
//! Trust anchors never travel with evidence. What comes along with evidence is an [`crate::Endorsement`], and is
//! worth what a vendor's signature on it is worth.

use std::fmt;
use std::str::FromStr;

/// What an anchor is trusted for, and for nothing else: a key that one protocol uses must not speak in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnchorRole {
    /// Root certificate of a TPM maker, for endorsement key certificates.
    TpmRoot,
    /// Attestation key of a TPM that was enrolled by credential activation.
    TpmAttestationKey,
    /// Attestation key of an OP-TEE device, of its `attestation` PTA.
    OpteeKey,
    /// Initial attestation key of a PSA device.
    PsaKey,
    /// Platform attestation key of an Arm CCA platform.
    CcaKey,
    /// Device key of a Keystone machine.
    KeystoneDevice,
}

impl AnchorRole {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::TpmRoot,
        Self::TpmAttestationKey,
        Self::OpteeKey,
        Self::PsaKey,
        Self::CcaKey,
        Self::KeystoneDevice,
    ];

    /// The name used on the command line and for directories.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TpmRoot => "tpm-root",
            Self::TpmAttestationKey => "tpm-ak",
            Self::OpteeKey => "optee-key",
            Self::PsaKey => "psa-key",
            Self::CcaKey => "cca-key",
            Self::KeystoneDevice => "keystone-device",
        }
    }
}

impl fmt::Display for AnchorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no role's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{0}`: expected one of tpm-root, tpm-ak, optee-key, psa-key, cca-key, keystone-device")]
pub struct UnknownRole(String);

impl FromStr for AnchorRole {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// One key or certificate that the relying party vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// What for.
    pub role: AnchorRole,
    /// The file's bytes: PEM, DER, JWK or hex, as the role's verifier reads them.
    pub bytes: Vec<u8>,
    /// Where it came from, for messages.
    pub origin: String,
}

/// Everything that the relying party vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors(pub Vec<TrustAnchor>);

impl TrustAnchors {
    /// Largest anchor that is read, in bytes.
    pub const MAX_SIZE: usize = 256 * 1024;

    /// Those of one role.
    pub fn of_role(&self, role: AnchorRole) -> impl Iterator<Item = &TrustAnchor> {
        self.0.iter().filter(move |anchor| anchor.role == role)
    }
}

/// An anchor that cannot be used as what it is given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin} does not serve as `{role}`: {what}")]
pub struct TrustAnchorError {
    /// Where it came from.
    pub origin: String,
    /// What it was given for.
    pub role: AnchorRole,
    /// What is wrong, and what would serve.
    pub what: String,
}

impl TrustAnchor {
    /// The error that this anchor does not serve.
    pub fn refused(&self, what: impl Into<String>) -> TrustAnchorError {
        TrustAnchorError {
            origin: self.origin.clone(),
            role: self.role,
            what: what.into(),
        }
    }
}
