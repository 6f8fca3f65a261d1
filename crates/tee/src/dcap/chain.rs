//! The PCK certificate chain that a quote carries, and the platform that its leaf names.
//!
//! The extension is described in Intel, *SGX PCK Certificate and Certificate Revocation List Profile
//! Specification*, "Intel SGX PCK Certificate". What is read here is not verified yet: it decides which
//! collateral is asked for, and `dcap-qvl` verifies the same leaf afterwards.

use dcap_qvl::config::{ParsedCert as _, PckCa, X509Codec as _};
use dcap_qvl::intel::{PckExtension, parse_pck_extension};
use dcap_qvl::x509::X509CertBackend;
use nautilus_core::VerifyError;

use super::collateral::validity_of;
use super::verify::Family;
use super::wire::{CERT_PCK_CHAIN, Certification, malformed, unsupported};

/// The platform that a quote's certificates name. Unverified.
pub(super) struct Platform {
    /// The certificates in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// What the leaf says of the platform.
    pub pck: PckExtension,
    /// Which of Intel's certificate authorities issued the leaf, by its issuer's name.
    pub ca: Option<PckCa>,
}

impl Platform {
    pub(super) fn read(certification: &Certification) -> Result<Self, VerifyError> {
        if certification.kind != CERT_PCK_CHAIN {
            let (kind, name) = (certification.kind, kind_name(certification.kind));
            return Err(unsupported(format!(
                "certification data of type {kind} ({name}): type 5 (PCK certificate chain) is supported"
            )));
        }
        let broken = |what: String| malformed(format!("PCK certificate chain: {what}"), certification.offset);
        let certificates = certificates_in(&certification.data).map_err(broken)?;
        let leaf = certificates
            .first()
            .ok_or_else(|| broken("no certificate".to_owned()))?;
        let pck = parse_pck_extension(leaf).map_err(|error| broken(format!("{error:#}")))?;
        let ca = X509CertBackend::from_der(leaf)
            .map_err(|error| broken(format!("{error:#}")))?
            .pck_ca();
        Ok(Self {
            certificates,
            pck,
            ca,
        })
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let certificates = self.certificates.iter().map(Vec::len);
        certificates.fold(self.pck.raw_extension.len(), usize::saturating_add)
    }

    /// Every second at which a certificate starts or stops being valid; none if they cannot be told.
    pub(super) fn instants(&self) -> Option<Vec<u64>> {
        let mut instants = Vec::new();
        for certificate in &self.certificates {
            instants.extend(validity_of(certificate)?);
        }
        Some(instants)
    }

    /// The platform's FMSPC as Intel writes it.
    pub(super) fn fmspc(&self) -> String {
        hex::encode_upper(self.pck.fmspc)
    }

    /// What the platform is called in messages.
    pub(super) fn subject(&self, family: Family) -> String {
        let ca = self.ca.map_or("unknown", |ca| ca.as_id_str());
        format!("{} platform {} ({ca} CA)", family.name(), self.fmspc())
    }
}

/// The certificates in PEM text, in DER and in order, read by the parser that `dcap-qvl` itself uses, so
/// that both mean the same leaf.
pub(super) fn certificates_in(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::parse_many(text).map_err(|error| error.to_string())?;
    if let Some(other) = blocks.iter().find(|block| block.tag() != "CERTIFICATE") {
        return Err(format!(
            "PEM block `{}` is no certificate",
            other.tag().escape_default()
        ));
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// Names from the table "QE Certification Data".
const fn kind_name(kind: u16) -> &'static str {
    match kind {
        1 => "PPID in plain text",
        2 => "PPID encrypted by RSA 2048",
        3 => "PPID encrypted by RSA 3072",
        4 => "PCK leaf certificate",
        6 => "QE report",
        7 => "platform manifest",
        _ => "unknown",
    }
}
