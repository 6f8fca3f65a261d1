//! What the attestation service answers (specification §2.A `AttestationResponse`, `TEEQuote`, `AttestationCert`).
//! Bytes are base64 in JSON, digests and signatures hex, times RFC 3339.

use std::collections::BTreeMap;

use nautilus_core::{BootId, EndorsementKind, EvidenceFile, EvidenceId, TeeKind, UnixMillis};
use nautilus_verifier::api::AttestationOutcome;
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::{base64_bytes, base64_list, base64_map};
use crate::enclave_manager::EnclaveMeasurements;

/// Evidence, what it says, and what the verifier says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationResponse {
    /// The TEE's quote.
    pub quote: TeeQuote,
    /// The enclave's certificate for its own key, with the evidence in an extension.
    pub certificate: AttestationCert,
    /// What was measured; none if the evidence does not verify.
    pub measurements: Option<EnclaveMeasurements>,
    /// The same evidence as a file that `nautilus verify` takes.
    pub evidence: EvidenceFile,
    /// The enclave's signature over `AttestationResponse` (`docs/wire.md`): SHA-256 of the raw evidence, of the
    /// certificate and of the measurements, and both times.
    pub signature: String,
    /// When it was made.
    pub timestamp: UnixMillis,
    /// Until when it may be used: at most 24 hours, and never longer than the verdict.
    pub expires_at: UnixMillis,
    /// Whether the verifier verified the evidence and its policy accepted it.
    pub verified: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A quote of a TEE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeeQuote {
    /// The TEE.
    pub tee_type: TeeKind,
    /// Version of the quote's format, where it has one.
    pub version: String,
    /// The raw evidence, its own signature in it.
    #[serde(with = "base64_bytes")]
    pub quote_data: Vec<u8>,
    /// The device's signature, where the format has it in one place of its own; empty otherwise.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
    /// Certificates that came with it: DER, or as they stand in the quote, which may be a chain in PEM.
    #[serde(with = "base64_list")]
    pub certificates: Vec<Vec<u8>>,
    /// Other documents of the vendor that came with it, by their kind and number.
    #[serde(with = "base64_map")]
    pub collateral: BTreeMap<String, Vec<u8>>,
}

/// What is inside of a quote, for those who do not read quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuoteParts {
    /// Version of the format.
    pub version: String,
    /// The device's signature.
    pub signature: Vec<u8>,
    /// Certificates within the quote, as they stand there.
    pub certificates: Vec<Vec<u8>>,
}

/// A certificate, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationCert {
    /// Whose key it is for.
    pub subject: String,
    /// Who issued it: the key itself, for what vouches for it is the evidence inside.
    pub issuer: String,
    /// Its serial number in hex.
    pub serial_number: String,
    /// From when on it is valid.
    pub not_before: UnixMillis,
    /// Until when it is valid.
    pub not_after: UnixMillis,
    /// The key, SubjectPublicKeyInfo in DER.
    #[serde(with = "base64_bytes")]
    pub public_key: Vec<u8>,
    /// The certificate in DER.
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    /// What it leads to: nothing, it stands alone.
    #[serde(with = "base64_list")]
    pub cert_chain: Vec<Vec<u8>>,
}

/// An answer, with what the service needs to know of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the caller gets.
    pub response: AttestationResponse,
    /// The boot of the enclave that made it.
    pub boot: BootId,
    /// Identity of the evidence.
    pub evidence: EvidenceId,
    /// What the verifier says; none if the evidence does not verify.
    pub outcome: Option<AttestationOutcome>,
}

impl TeeQuote {
    /// The quote in `file`, of which `parts` are known.
    pub(super) fn of(file: &EvidenceFile, parts: QuoteParts) -> Self {
        let mut certificates = parts.certificates;
        let mut collateral = BTreeMap::new();
        for (number, endorsement) in file.endorsements.0.iter().enumerate() {
            match endorsement.kind {
                EndorsementKind::Certificate => certificates.push(endorsement.bytes.clone()),
                EndorsementKind::DcapCollateral => {
                    collateral.insert(format!("dcap_collateral_{number}"), endorsement.bytes.clone());
                }
                EndorsementKind::Crl => {
                    collateral.insert(format!("crl_{number}"), endorsement.bytes.clone());
                }
            }
        }
        Self {
            tee_type: file.evidence.tee,
            version: parts.version,
            quote_data: file.evidence.bytes.clone(),
            signature: parts.signature,
            certificates,
            collateral,
        }
    }
}

impl AttestationCert {
    /// Reads a certificate. None if it is none.
    pub(super) fn read(der: Vec<u8>) -> Option<Self> {
        let read = Certificate::from_der(&der).ok()?;
        let contents = read.tbs_certificate();
        let time = |time: x509_cert::time::Time| {
            u64::try_from(time.to_unix_duration().as_millis())
                .ok()
                .map(UnixMillis)
        };
        Some(Self {
            subject: contents.subject().to_string(),
            issuer: contents.issuer().to_string(),
            serial_number: hex::encode(contents.serial_number().as_bytes()),
            not_before: time(contents.validity().not_before)?,
            not_after: time(contents.validity().not_after)?,
            public_key: contents.subject_public_key_info().to_der().ok()?,
            certificate: der,
            cert_chain: Vec::new(),
        })
    }
}

impl Answer {
    /// About how many bytes it takes in memory.
    pub(super) fn size(&self) -> usize {
        let AttestationResponse {
            quote,
            certificate,
            evidence,
            ..
        } = &self.response;
        let documents = evidence
            .endorsements
            .0
            .iter()
            .map(|endorsement| endorsement.bytes.len());
        let collateral = quote.collateral.values().chain(&quote.certificates).map(Vec::len);
        let evidence = &evidence.evidence;
        let own = [
            2 * quote.quote_data.len(),
            certificate.certificate.len(),
            evidence.user_data.as_ref().map_or(0, Vec::len),
            evidence.event_log.as_ref().map_or(0, Vec::len),
            // Names, times, measurements, the outcome's findings.
            16 * 1024,
        ];
        documents.chain(collateral).chain(own).sum()
    }
}
