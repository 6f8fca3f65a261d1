//! Files in which vendors' endorsements come, told apart by content.
//!
//! One file may hold Intel's DCAP collateral (JSON), certificates and CRLs (PEM, several in one file, as AMD's
//! `cert_chain` is; or one in DER), or the certificate table that an AMD host gives its guests. What is read is as
//! untrusted as before: only a chain to a pinned root makes it count.

use nautilus_core::{Endorsement, EndorsementKind, Endorsements};
use serde::Deserialize;
use x509_cert::certificate::{Certificate, Rfc5280};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

/// Most documents of one file. AMD's chains have 2 certificates, Intel's 3; a TPM maker's bundle has some dozens.
pub const MAX_DOCUMENTS: usize = 128;

/// Why a file holds no endorsements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndorsementError {
    /// Larger than an endorsement can be.
    #[error(
        "{origin} has more than the {} bytes allowed for endorsements",
        Endorsements::MAX_SIZE
    )]
    TooLarge {
        /// Where it came from.
        origin: String,
    },
    /// More documents than are read from one file.
    #[error("{origin} holds more than {MAX_DOCUMENTS} documents: split the file")]
    TooMany {
        /// Where it came from.
        origin: String,
    },
    /// Nothing of what vendors publish.
    #[error(
        "{origin} is no endorsement: expected DCAP collateral (JSON), certificates or CRLs (PEM or DER), or an AMD certificate table"
    )]
    NotRecognised {
        /// Where it came from.
        origin: String,
    },
    /// JSON, but not DCAP collateral.
    #[error("{origin} is no DCAP collateral: {what}")]
    NotCollateral {
        /// Where it came from.
        origin: String,
        /// What it lacks.
        what: String,
    },
    /// One of the forms, but broken.
    #[error("{origin} is broken: {what}")]
    Malformed {
        /// Where it came from.
        origin: String,
        /// What is wrong, and where.
        what: String,
    },
}

/// Reads the endorsements of one file. `origin` is its name for messages; each endorsement's own adds which of the
/// file's documents it is.
///
/// # Errors
/// Says why the bytes are no endorsements. One broken document makes the whole file broken.
pub fn read(bytes: &[u8], origin: &str) -> Result<Vec<Endorsement>, EndorsementError> {
    let file = File { bytes, origin };
    if bytes.len() > Endorsements::MAX_SIZE {
        return Err(EndorsementError::TooLarge {
            origin: origin.to_owned(),
        });
    }
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"{") {
        return file.collateral();
    }
    // Quotes hold certificates in PEM too: a PEM file is text.
    if str::from_utf8(bytes).is_ok_and(|text| text.contains(BEGIN)) {
        return file.pem();
    }
    if is_certificate_table(bytes) {
        return file.certificate_table();
    }
    // Every X.509 document is a SEQUENCE with a long length.
    if bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x83]) {
        let one = file.der(bytes, origin.to_owned())?;
        return Ok(vec![one]);
    }
    Err(EndorsementError::NotRecognised {
        origin: origin.to_owned(),
    })
}

/// How a PEM block starts (RFC 7468).
const BEGIN: &str = "-----BEGIN ";

struct File<'a> {
    bytes: &'a [u8],
    origin: &'a str,
}

/// The fields by which DCAP collateral is recognised. What they hold is its verifier's to check.
#[derive(Deserialize)]
struct CollateralFields {
    #[serde(rename = "tcb_info")]
    _tcb_info: String,
    #[serde(rename = "qe_identity")]
    _qe_identity: String,
}

impl File<'_> {
    fn collateral(&self) -> Result<Vec<Endorsement>, EndorsementError> {
        let _: CollateralFields =
            serde_json::from_slice(self.bytes).map_err(|error| EndorsementError::NotCollateral {
                origin: self.origin.to_owned(),
                what: error.to_string(),
            })?;
        Ok(vec![Endorsement {
            kind: EndorsementKind::DcapCollateral,
            bytes: self.bytes.to_vec(),
            origin: self.origin.to_owned(),
        }])
    }

    fn pem(&self) -> Result<Vec<Endorsement>, EndorsementError> {
        let count = self
            .bytes
            .windows(BEGIN.len())
            .filter(|window| *window == BEGIN.as_bytes())
            .count();
        self.check_count(count)?;
        let blocks = pem::parse_many(self.bytes).map_err(|error| self.malformed(error.to_string()))?;
        // A block that has no end is not among them.
        if blocks.len() != count {
            return Err(self.malformed(format!("{count} PEM blocks begin, {} are whole", blocks.len())));
        }
        let read = |(index, block): (usize, &pem::Pem)| {
            let origin = match count {
                1 => self.origin.to_owned(),
                _ => format!("{} (block {})", self.origin, index.saturating_add(1)),
            };
            let expected = match block.tag() {
                "CERTIFICATE" => EndorsementKind::Certificate,
                "X509 CRL" => EndorsementKind::Crl,
                other => {
                    let tag: String = other.chars().take(32).collect();
                    return Err(self.malformed(format!(
                        "PEM block said to be `{tag}`, which is neither a certificate nor a CRL"
                    )));
                }
            };
            let one = self.der(block.contents(), origin)?;
            if one.kind != expected {
                let (said, is) = (block.tag(), one.kind.as_str());
                return Err(self.malformed(format!("PEM block said to be `{said}` holds a {is}")));
            }
            Ok(one)
        };
        blocks.iter().enumerate().map(read).collect()
    }

    /// The certificate table of the guest-hypervisor communication block (AMD, *SEV-ES Guest-Hypervisor
    /// Communication Block Standardization*, 2.03, §4.1.8.1), which configfs-tsm gives as `auxblob`. Entries that
    /// are not AMD's are the host's own, and are passed over.
    fn certificate_table(&self) -> Result<Vec<Endorsement>, EndorsementError> {
        let lines = self.table_lines()?;
        let table_len = lines.len().saturating_add(1).saturating_mul(Entry::LEN);
        let mut names: Vec<&str> = Vec::new();
        let mut found = Vec::new();
        for entry in lines {
            let Some((name, kind)) = entry.document() else {
                continue;
            };
            if names.contains(&name) {
                return Err(self.malformed(format!("the certificate table has {name} twice")));
            }
            names.push(name);
            let bytes = entry
                .contents(self.bytes)
                .filter(|_| entry.offset >= table_len && entry.length > 0);
            let Some(bytes) = bytes else {
                let (offset, length) = (entry.offset, entry.length);
                return Err(self.malformed(format!(
                    "the certificate table says that {name} has {length} bytes at {offset}, where there are none"
                )));
            };
            let one = self.der(bytes, format!("{} ({name})", self.origin))?;
            if one.kind != kind {
                let what = one.kind.as_str();
                return Err(self.malformed(format!("{name} of the certificate table is a {what}")));
            }
            found.push(one);
        }
        Ok(found)
    }

    /// The table's lines up to its end, a line of zeros.
    fn table_lines(&self) -> Result<Vec<Entry>, EndorsementError> {
        let mut lines = Vec::new();
        loop {
            let at = lines.len().saturating_mul(Entry::LEN);
            match Entry::at(self.bytes, at) {
                Some(entry) if entry.guid == 0 => return Ok(lines),
                Some(entry) => lines.push(entry),
                None => {
                    return Err(self.malformed(format!("the certificate table has no end at byte {at}")));
                }
            }
            self.check_count(lines.len())?;
        }
    }

    /// One certificate or CRL, with nothing after it.
    fn der(&self, bytes: &[u8], origin: String) -> Result<Endorsement, EndorsementError> {
        let kind = match Certificate::from_der(bytes) {
            Ok(_) => EndorsementKind::Certificate,
            Err(fault) => match CertificateList::<Rfc5280>::from_der(bytes) {
                Ok(_) => EndorsementKind::Crl,
                Err(_) => {
                    let what = format!("neither a certificate ({fault}) nor a certificate revocation list");
                    return Err(EndorsementError::Malformed { origin, what });
                }
            },
        };
        Ok(Endorsement {
            kind,
            bytes: bytes.to_vec(),
            origin,
        })
    }

    fn check_count(&self, count: usize) -> Result<(), EndorsementError> {
        if count <= MAX_DOCUMENTS {
            return Ok(());
        }
        Err(EndorsementError::TooMany {
            origin: self.origin.to_owned(),
        })
    }

    fn malformed(&self, what: String) -> EndorsementError {
        EndorsementError::Malformed {
            origin: self.origin.to_owned(),
            what,
        }
    }
}

/// One line of AMD's certificate table.
struct Entry {
    guid: u128,
    offset: usize,
    length: usize,
}

/// The table's GUIDs (same document, table "GUIDs for certificates").
const GUIDS: [(u128, &str, EndorsementKind); 5] = [
    (
        0x63da_758d_e664_4564_adc5_f4b9_3be8_accd,
        "VCEK",
        EndorsementKind::Certificate,
    ),
    (
        0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1,
        "VLEK",
        EndorsementKind::Certificate,
    ),
    (
        0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782,
        "ASK",
        EndorsementKind::Certificate,
    ),
    (
        0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae,
        "ARK",
        EndorsementKind::Certificate,
    ),
    (
        0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea,
        "CRL",
        EndorsementKind::Crl,
    ),
];

impl Entry {
    const LEN: usize = 24;

    fn at(table: &[u8], at: usize) -> Option<Self> {
        let (guid, rest) = table.get(at..)?.split_first_chunk::<16>()?;
        let (offset, rest) = rest.split_first_chunk::<4>()?;
        let (length, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            // In the order in which it is written, as AMD's own tools have it.
            guid: u128::from_be_bytes(*guid),
            offset: usize::try_from(u32::from_le_bytes(*offset)).ok()?,
            length: usize::try_from(u32::from_le_bytes(*length)).ok()?,
        })
    }

    fn document(&self) -> Option<(&'static str, EndorsementKind)> {
        let (_, name, kind) = GUIDS.into_iter().find(|(guid, ..)| *guid == self.guid)?;
        Some((name, kind))
    }

    fn contents<'a>(&self, table: &'a [u8]) -> Option<&'a [u8]> {
        table.get(self.offset..)?.get(..self.length)
    }
}

/// Whether one of the first lines of a certificate table names a document of AMD's.
fn is_certificate_table(bytes: &[u8]) -> bool {
    (0..MAX_DOCUMENTS)
        .map_while(|line| Entry::at(bytes, line.saturating_mul(Entry::LEN)))
        .take_while(|entry| entry.guid != 0)
        .any(|entry| entry.document().is_some())
}

#[cfg(test)]
mod tests;
