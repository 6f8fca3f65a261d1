//! The SGX quote, version 3: Intel, *SGX ECDSA QuoteLib Reference: DCAP API*, appendix "Quote Format".

use nautilus_core::VerifyError;

use crate::dcap::wire::{
    ATT_KEY_ECDSA_P256, EnclaveReport, Extent, Header, Nesting, Reader, SignatureData, TEE_TYPE_SGX,
    TEE_TYPE_TDX, malformed, unsupported,
};

/// An SGX quote as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The header.
    pub header: Header,
    /// The enclave's report.
    pub report: EnclaveReport,
    /// Signatures, keys and certificates.
    pub signature: SignatureData,
    /// Where the quote ends.
    pub extent: Extent,
}

/// Whether bytes start like an SGX quote of any version that has ECDSA P-256 attestation keys.
pub fn recognises(bytes: &[u8]) -> bool {
    Header::peek(bytes).is_ok_and(|header| {
        (3..=5).contains(&header.version)
            && header.tee_type == TEE_TYPE_SGX
            && header.att_key_type == ATT_KEY_ECDSA_P256
    })
}

/// Parses an SGX quote of version 3, which zeros may follow.
///
/// # Errors
/// `Malformed` names the field and its offset; `Unsupported` names a version or key type that is known but
/// cannot be verified; `TrailingBytes` says what follows the quote.
pub fn parse_quote(bytes: &[u8]) -> Result<Quote, VerifyError> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    match (header.version, header.tee_type) {
        (3, TEE_TYPE_SGX) => {}
        (4 | 5, TEE_TYPE_SGX) => {
            let version = header.version;
            return Err(unsupported(format!(
                "SGX report in a quote of version {version}: version 3 is supported"
            )));
        }
        (_, TEE_TYPE_TDX) => {
            return Err(malformed(
                "TEE type 0x81 (TDX) in a quote said to be of SGX".to_owned(),
                4,
            ));
        }
        (_, TEE_TYPE_SGX) => return Err(unsupported(format!("quote version {}", header.version))),
        (_, other) => return Err(malformed(format!("TEE type {other:#x} is not SGX"), 4)),
    }
    header.check_key_type()?;
    let report = EnclaveReport::read(&mut reader, "enclave report")?;
    let (signature, extent) = SignatureData::read_to_end(reader, Nesting::Flat)?;
    Ok(Quote {
        header,
        report,
        signature,
        extent,
    })
}

#[cfg(test)]
mod tests;
