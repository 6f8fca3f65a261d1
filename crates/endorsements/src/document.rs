//! A vendor's document: what it is for and when it holds, read from the document itself.

mod amd;
pub(crate) mod dcap;
pub(crate) mod x509;

#[cfg(test)]
mod tests;

use std::fmt;

use nautilus_core::{EndorsementKind, Endorsements, UnixMillis};
use sha2::{Digest as _, Sha256};

pub use self::amd::{AmdTcb, Product};

/// A document that could be read, and what it says of itself. Its signatures have not been checked: that is
/// verification's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    kind: EndorsementKind,
    bytes: Vec<u8>,
    subject: Subject,
    validity: Validity,
    sha256: [u8; 32],
}

/// What a document is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// DCAP collateral of Intel.
    Dcap {
        /// The TEE that its TCB Info is for.
        tee: IntelTee,
        /// The platforms' FMSPC.
        fmspc: [u8; 6],
        /// The authority whose CRL it has.
        ca: PckCa,
        /// The TCB Info's evaluation data number.
        evaluation: u32,
    },
    /// AMD's certificate for a chip at a TCB.
    Vcek {
        /// The chip's product.
        product: Product,
        /// Its id: 64 bytes, 8 on Turin.
        hwid: Vec<u8>,
        /// The TCB.
        tcb: AmdTcb,
    },
    /// AMD's certificate for a cloud provider at a TCB.
    Vlek {
        /// The product.
        product: Product,
        /// The TCB.
        tcb: AmdTcb,
    },
    /// The revocation list of AMD's root for a product.
    AmdCrl {
        /// The product.
        product: Product,
    },
    /// Any other certificate.
    Certificate {
        /// Its subject's name.
        name: String,
    },
    /// Any other revocation list.
    Crl {
        /// Its issuer's name.
        issuer: String,
    },
}

/// Intel's TEEs that DCAP collateral is published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntelTee {
    /// SGX.
    Sgx,
    /// TDX.
    Tdx,
}

/// Intel's authorities that issue PCK certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckCa {
    /// For platforms with one processor package.
    Processor,
    /// For platforms that register with Intel.
    Platform,
}

/// When a document holds, both ends included, in whole seconds as X.509 and Intel's documents count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub from: UnixMillis,
    /// Until when; `None` where the document names no end.
    pub until: Option<UnixMillis>,
}

/// Why bytes are no document that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Too large.
    #[error("document has more than the {limit} bytes allowed")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// Not the kind of document that it should be.
    #[error("not a {}: {what}", kind.as_str())]
    Malformed {
        /// The kind that was expected.
        kind: EndorsementKind,
        /// What is wrong.
        what: String,
    },
    /// No kind of document that is known.
    #[error(
        "neither DCAP collateral in JSON, nor X.509 certificates or revocation lists in DER or PEM: {what}"
    )]
    NotRecognised {
        /// Why not.
        what: String,
    },
    /// Parts that hold at different times, so that the whole never does.
    #[error("document never holds as a whole: its parts hold from {from} and until {until}")]
    NeverCurrent {
        /// The latest start.
        from: UnixMillis,
        /// The earliest end.
        until: UnixMillis,
    },
}

impl Document {
    /// Most documents that one file may hold.
    const MAX_IN_FILE: usize = 64;

    /// Reads a document of a kind.
    ///
    /// # Errors
    /// If it is too large, cannot be read, or never holds.
    pub fn read(kind: EndorsementKind, bytes: Vec<u8>) -> Result<Self, DocumentError> {
        if bytes.len() > Endorsements::MAX_SIZE {
            let limit = Endorsements::MAX_SIZE;
            return Err(DocumentError::TooLarge { limit });
        }
        let read = match kind {
            EndorsementKind::DcapCollateral => dcap::read(&bytes),
            EndorsementKind::Certificate => x509::read_certificate(&bytes),
            EndorsementKind::Crl => x509::read_crl(&bytes),
        };
        let (subject, validity) = read.map_err(|what| DocumentError::Malformed { kind, what })?;
        if let Some(until) = validity.until.filter(|until| *until < validity.from) {
            let from = validity.from;
            return Err(DocumentError::NeverCurrent { from, until });
        }
        Ok(Self {
            sha256: Sha256::digest(&bytes).into(),
            kind,
            bytes,
            subject,
            validity,
        })
    }

    /// Reads a file by its content: DCAP collateral as JSON, or certificates and revocation lists in DER or PEM.
    ///
    /// # Errors
    /// If a document in it is of no known kind, or cannot be kept.
    pub fn recognise(bytes: Vec<u8>) -> Result<Vec<Self>, DocumentError> {
        if bytes.len() > Endorsements::MAX_SIZE {
            let limit = Endorsements::MAX_SIZE;
            return Err(DocumentError::TooLarge { limit });
        }
        let text = bytes.trim_ascii_start();
        if text.first() == Some(&b'{') {
            return Ok(vec![Self::read(EndorsementKind::DcapCollateral, bytes)?]);
        }
        if text.starts_with(b"-----BEGIN ") {
            return Self::from_pem(text);
        }
        let as_certificate = match Self::read(EndorsementKind::Certificate, bytes.clone()) {
            Ok(document) => return Ok(vec![document]),
            Err(error) => error,
        };
        match Self::read(EndorsementKind::Crl, bytes) {
            Ok(document) => Ok(vec![document]),
            Err(as_crl) => Err(DocumentError::NotRecognised {
                what: format!("{as_certificate}; {as_crl}"),
            }),
        }
    }

    fn from_pem(text: &[u8]) -> Result<Vec<Self>, DocumentError> {
        let unknown = |what: String| DocumentError::NotRecognised { what };
        let blocks = pem::parse_many(text).map_err(|error| unknown(error.to_string()))?;
        if blocks.is_empty() || blocks.len() > Self::MAX_IN_FILE {
            let (count, limit) = (blocks.len(), Self::MAX_IN_FILE);
            return Err(unknown(format!("{count} PEM blocks, expected 1 to {limit}")));
        }
        blocks
            .into_iter()
            .map(|block| {
                let kind = match block.tag() {
                    "CERTIFICATE" => EndorsementKind::Certificate,
                    "X509 CRL" => EndorsementKind::Crl,
                    other => return Err(unknown(format!("PEM block `{}`", shown(other)))),
                };
                Self::read(kind, block.into_contents())
            })
            .collect()
    }

    /// What the bytes are.
    #[must_use]
    pub const fn kind(&self) -> EndorsementKind {
        self.kind
    }

    /// The document as its vendor published it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it is for.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// When it holds.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The bytes' SHA-256.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Validity {
    /// Whether it holds at a time.
    #[must_use]
    pub const fn contains(self, at: UnixMillis) -> bool {
        let ended = match self.until {
            Some(until) => at.as_secs() > until.as_secs(),
            None => false,
        };
        at.as_secs() >= self.from.as_secs() && !ended
    }

    /// The time in which both hold; it may be empty.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: match (self.until, other.until) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        }
    }
}

impl IntelTee {
    /// Its name in addresses and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
        }
    }
}

impl PckCa {
    /// Its name in addresses and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dcap {
                tee,
                fmspc,
                ca,
                evaluation,
            } => {
                let (tee, ca) = (tee.as_str().to_uppercase(), ca.as_str());
                let fmspc = hex::encode_upper(fmspc);
                write!(f, "{tee} platform {fmspc} ({ca} CA), evaluation {evaluation}")
            }
            Self::Vcek { product, hwid, tcb } => {
                write!(f, "{product} chip {} at {tcb}", hex::encode(hwid))
            }
            Self::Vlek { product, tcb } => write!(f, "{product} VLEK at {tcb}"),
            Self::AmdCrl { product } => write!(f, "revocations by ARK-{product}"),
            Self::Certificate { name } => write!(f, "certificate of {name}"),
            Self::Crl { issuer } => write!(f, "revocations by {issuer}"),
        }
    }
}

/// Hostile text for a message: short, and on one line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}
