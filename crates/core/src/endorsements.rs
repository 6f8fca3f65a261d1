//! What vendors say about devices, brought along so that verification needs no network.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an endorsement's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndorsementKind {
    /// Intel DCAP collateral as one JSON object: TCB info, QE identity, CRLs, and their chains.
    DcapCollateral,
    /// One X.509 certificate in DER, such as AMD's VCEK or an intermediate of a TPM maker.
    Certificate,
    /// One X.509 certificate revocation list in DER.
    Crl,
}

impl EndorsementKind {
    /// What it is called in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DcapCollateral => "DCAP collateral",
            Self::Certificate => "certificate",
            Self::Crl => "certificate revocation list",
        }
    }
}

/// One document of a vendor. Untrusted until a verifier has checked its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// What the bytes are.
    pub kind: EndorsementKind,
    /// The document.
    pub bytes: Vec<u8>,
    /// Where it came from, for messages.
    pub origin: String,
}

/// Everything that was brought along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endorsements(pub Vec<Endorsement>);

impl Endorsements {
    /// Largest endorsement that is read: Intel's largest collateral is below 32 KiB, and CRLs grow.
    pub const MAX_SIZE: usize = 1024 * 1024;

    /// Those of one kind.
    pub fn of_kind(&self, kind: EndorsementKind) -> impl Iterator<Item = &Endorsement> {
        self.0.iter().filter(move |endorsement| endorsement.kind == kind)
    }
}

/// An endorsement that evidence needs, and where its vendor serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Want {
    /// What kind of document.
    pub kind: EndorsementKind,
    /// What for, such as `TDX platform 90C06F000000 (platform CA)`.
    pub subject: String,
    /// Where the vendor publishes it.
    pub urls: Vec<String>,
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.kind.as_str(), self.subject)
    }
}
