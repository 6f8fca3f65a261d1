//! The attestation document that a Nitro Security Module signs.
//!
//! Its form is in AWS, *Nitro Enclaves Attestation Process* §3.1 (aws-nitro-enclaves-nsm-api,
//! `docs/attestation_process.md`), with the limits of its "syntactical validation" §3.2.2.

use std::collections::BTreeMap;

use nautilus_core::{UnixMillis, VerifyError};

use crate::cose::cbor::{Label, Lengths, Reader, malformed, shown};
use crate::cose::{Algorithm, Protected, Rules, Signed, Tag};

/// An attestation document. What it says is unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The module that signed: the instance and its enclave.
    pub module_id: String,
    /// When it was signed, by the hypervisor's clock.
    pub timestamp: UnixMillis,
    /// Platform configuration registers by index.
    pub pcrs: BTreeMap<u8, [u8; 48]>,
    /// The certificate, in DER, whose key signed the document.
    pub certificate: Vec<u8>,
    /// The certificates, in DER, from AWS's root to the issuer of `certificate`.
    pub cabundle: Vec<Vec<u8>>,
    /// A public key of the enclave's choice.
    pub public_key: Option<Vec<u8>>,
    /// Bytes of the enclave's choice.
    pub user_data: Option<Vec<u8>>,
    /// Bytes that the enclave was asked to have signed.
    pub nonce: Option<Vec<u8>>,
}

/// What Nitro asks of the envelope: ES384 alone in the protected header, nothing beside it, and no need for a tag
/// (§3.1: "COSE_Sign1", which the module writes without one).
pub(super) const ENVELOPE: Rules = Rules {
    what: "attestation document",
    tag: Tag::Optional,
    algorithms: &[Algorithm::Es384],
    protected: Protected::AlgorithmAlone,
    max_payload: MAX_PAYLOAD,
};
/// Far above the largest document: ten certificates, 32 registers and the three fields are below 16 KiB.
const MAX_PAYLOAD: usize = 32 * 1024;
/// Most certificates above the leaf; AWS issues four.
const MAX_CABUNDLE: usize = 10;
const MAX_CERTIFICATE: usize = 1024;
const MAX_MODULE_ID: usize = 256;
const MAX_PUBLIC_KEY: usize = 1024;
const MAX_USER_DATA: usize = 512;
const MAX_NONCE: usize = 512;
const PCRS: u8 = 32;
const FIELDS: usize = 9;

/// Whether bytes look like an attestation document: a COSE_Sign1 by ES384 of a map with a text as its first key.
pub fn recognises(evidence: &[u8]) -> bool {
    let untagged = evidence.strip_prefix(&[0xd2]).unwrap_or(evidence);
    let Some(rest) = untagged.strip_prefix(&[0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0]) else {
        return false;
    };
    let mut reader = Reader::new(rest, 0, Lengths::Any);
    let Ok(payload) = reader.bytes("payload", usize::MAX) else {
        return false;
    };
    // A map of up to 23 entries, or of unknown length; then a text.
    matches!(payload, [0xa1..=0xb7 | 0xbf, 0x60..=0x7b, ..])
}

/// Reads an attestation document. Its signature is not verified.
///
/// # Errors
/// The first thing that is not as AWS's specification has it.
pub fn parse_document(evidence: &[u8]) -> Result<Document, VerifyError> {
    Document::read(&Signed::read(evidence, 0, &ENVELOPE)?)
}

#[derive(Default)]
struct Fields {
    module_id: Option<String>,
    digest: Option<()>,
    timestamp: Option<u64>,
    pcrs: Option<BTreeMap<u8, [u8; 48]>>,
    certificate: Option<Vec<u8>>,
    cabundle: Option<Vec<Vec<u8>>>,
    public_key: Option<Vec<u8>>,
    user_data: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
}

impl Document {
    pub(super) fn read(signed: &Signed<'_>) -> Result<Self, VerifyError> {
        // Modules of 2025 write the outermost map with an indefinite length.
        let mut reader = Reader::new(signed.payload, signed.payload_offset, Lengths::Any);
        let mut fields = Fields::default();
        reader.map("payload", FIELDS, |reader, label| fields.read(reader, label))?;
        reader.end("payload")?;
        let lacks = |name: &str| malformed(format!("payload lacks `{name}`"), signed.payload_offset);
        fields.digest.ok_or_else(|| lacks("digest"))?;
        Ok(Self {
            module_id: fields.module_id.ok_or_else(|| lacks("module_id"))?,
            timestamp: UnixMillis(fields.timestamp.ok_or_else(|| lacks("timestamp"))?),
            pcrs: fields.pcrs.ok_or_else(|| lacks("pcrs"))?,
            certificate: fields.certificate.ok_or_else(|| lacks("certificate"))?,
            cabundle: fields.cabundle.ok_or_else(|| lacks("cabundle"))?,
            public_key: fields.public_key,
            user_data: fields.user_data,
            nonce: fields.nonce,
        })
    }

    /// What the enclave had signed: the nonce, or without one the user data; both where both are 32 bytes.
    pub(super) fn report_data(&self) -> Vec<u8> {
        match (&self.nonce, &self.user_data) {
            (Some(nonce), Some(user_data)) if nonce.len() == 32 && user_data.len() == 32 => {
                [nonce.as_slice(), user_data].concat()
            }
            (Some(nonce), _) => nonce.clone(),
            (None, Some(user_data)) => user_data.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// PCR 0 to 2 measure the image; in debug mode they are zero (§3.2, "PCRs of zeros").
    #[cfg(feature = "verify")]
    pub(super) fn is_debug(&self) -> bool {
        IMAGE_PCRS.iter().any(|index| {
            self.pcrs
                .get(index)
                .is_none_or(|pcr| pcr.iter().all(|byte| *byte == 0))
        })
    }
}

/// Enclave image, kernel and bootstrap, application.
const IMAGE_PCRS: [u8; 3] = [0, 1, 2];

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>, label: Label<'_>) -> Result<(), VerifyError> {
        let offset = reader.offset();
        let Label::Text(name) = label else {
            let what = format!("payload has the key {label}, which is none of a document");
            return Err(malformed(what, offset));
        };
        match name {
            "module_id" => {
                let id = reader.text("`module_id`", MAX_MODULE_ID)?;
                if id.is_empty() || id.chars().any(char::is_control) {
                    return Err(malformed("`module_id` names no module".to_owned(), offset));
                }
                self.module_id = Some(id.to_owned());
            }
            "digest" => {
                let digest = reader.text("`digest`", MAX_MODULE_ID)?;
                if digest != "SHA384" {
                    let what = format!("`digest` is `{}`, not `SHA384`", shown(digest));
                    return Err(malformed(what, offset));
                }
                self.digest = Some(());
            }
            "timestamp" => {
                let timestamp = reader.uint("`timestamp`")?;
                if timestamp == 0 {
                    return Err(malformed("`timestamp` is zero".to_owned(), offset));
                }
                self.timestamp = Some(timestamp);
            }
            "pcrs" => self.pcrs = Some(pcrs(reader)?),
            "certificate" => self.certificate = Some(certificate(reader, "`certificate`")?),
            "cabundle" => {
                let mut bundle = Vec::new();
                reader.array("`cabundle`", MAX_CABUNDLE, |reader, index| {
                    bundle.push(certificate(
                        reader,
                        &format!("certificate {index} of `cabundle`"),
                    )?);
                    Ok(())
                })?;
                if bundle.is_empty() {
                    return Err(malformed("`cabundle` is empty".to_owned(), offset));
                }
                self.cabundle = Some(bundle);
            }
            "public_key" => {
                self.public_key = optional(reader, "`public_key`", MAX_PUBLIC_KEY)?;
                if self.public_key.as_ref().is_some_and(Vec::is_empty) {
                    return Err(malformed("`public_key` is empty".to_owned(), offset));
                }
            }
            "user_data" => self.user_data = optional(reader, "`user_data`", MAX_USER_DATA)?,
            "nonce" => self.nonce = optional(reader, "`nonce`", MAX_NONCE)?,
            other => {
                let what = format!(
                    "payload has the key `{}`, which is none of a document",
                    shown(other)
                );
                return Err(malformed(what, offset));
            }
        }
        Ok(())
    }
}

fn pcrs(reader: &mut Reader<'_>) -> Result<BTreeMap<u8, [u8; 48]>, VerifyError> {
    let offset = reader.offset();
    let mut pcrs = BTreeMap::new();
    reader.map("`pcrs`", PCRS.into(), |reader, label| {
        let offset = reader.offset();
        let index = match label {
            Label::Int(index) => u8::try_from(index).ok().filter(|index| *index < PCRS),
            Label::Text(_) => None,
        };
        let Some(index) = index else {
            return Err(malformed(
                format!("`pcrs` has the key {label}, which is no register"),
                offset,
            ));
        };
        let value = reader.bytes(&format!("PCR {index}"), 64)?;
        let value = value.try_into().map_err(|_| {
            let what = format!("PCR {index} has {} bytes, SHA-384 gives 48", value.len());
            malformed(what, offset)
        })?;
        pcrs.insert(index, value);
        Ok(())
    })?;
    match IMAGE_PCRS.iter().find(|index| !pcrs.contains_key(index)) {
        Some(index) => Err(malformed(format!("`pcrs` lacks PCR {index}"), offset)),
        None => Ok(pcrs),
    }
}

fn certificate(reader: &mut Reader<'_>, what: &str) -> Result<Vec<u8>, VerifyError> {
    let offset = reader.offset();
    let der = reader.bytes(what, MAX_CERTIFICATE)?;
    if der.is_empty() {
        return Err(malformed(format!("{what} is empty"), offset));
    }
    Ok(der.to_vec())
}

fn optional(reader: &mut Reader<'_>, what: &str, max: usize) -> Result<Option<Vec<u8>>, VerifyError> {
    if reader.null() {
        return Ok(None);
    }
    Ok(Some(reader.bytes(what, max)?.to_vec()))
}
