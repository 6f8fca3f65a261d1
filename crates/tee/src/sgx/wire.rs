//! The SGX quote. Version 3: Intel, *SGX ECDSA QuoteLib Reference: DCAP API*, appendix "Quote Format". Versions 4
//! and 5 hold the same report in the containers of TDX: Intel, *TDX DCAP: Quote Generation Library and Quote
//! Verification Library*, appendix "Version 4 Quote Format" and "Version 5 Quote Format" (body type 1).

use nautilus_core::VerifyError;

use crate::dcap::wire::{
    ATT_KEY_ECDSA_P256, EnclaveReport, Extent, Header, Nesting, Reader, SignatureData, TEE_TYPE_SGX,
    TEE_TYPE_TDX, malformed, unsupported,
};

/// Body type of an enclave report, in version 5.
const BODY_SGX: u16 = 1;

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

/// Parses an SGX quote of version 3, 4 or 5, which zeros may follow.
///
/// # Errors
/// `Malformed` names the field and its offset; `Unsupported` names a version or key type that is known but
/// cannot be verified; `TrailingBytes` says what follows the quote.
pub fn parse_quote(bytes: &[u8]) -> Result<Quote, VerifyError> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    match (header.version, header.tee_type) {
        (3..=5, TEE_TYPE_SGX) => {}
        (_, TEE_TYPE_TDX) => {
            return Err(malformed(
                "TEE type 0x81 (TDX) in a quote said to be of SGX".to_owned(),
                4,
            ));
        }
        (version, TEE_TYPE_SGX) => {
            return Err(unsupported(format!(
                "quote version {version} of SGX: versions 3 to 5 are supported"
            )));
        }
        (_, other) => return Err(malformed(format!("TEE type {other:#x} is not SGX"), 4)),
    }
    header.check_key_type()?;
    if header.version == 5 {
        read_descriptor(&mut reader)?;
    }
    let report = EnclaveReport::read(&mut reader, "enclave report")?;
    let nesting = if header.version == 3 {
        Nesting::Flat
    } else {
        Nesting::QeReportCertification
    };
    let (signature, extent) = SignatureData::read_to_end(reader, nesting)?;
    Ok(Quote {
        header,
        report,
        signature,
        extent,
    })
}

/// Type and size of the body.
fn read_descriptor(reader: &mut Reader<'_>) -> Result<(), VerifyError> {
    let at = reader.offset();
    match reader.u16("body type")? {
        BODY_SGX => {}
        kind @ 2..=4 => {
            return Err(malformed(
                format!("TD report (body type {kind}) in a quote of SGX"),
                at,
            ));
        }
        other => return Err(unsupported(format!("body type {other}"))),
    }
    let at = reader.offset();
    let size = reader.u32("body size")?;
    if usize::try_from(size) != Ok(EnclaveReport::LEN) {
        return Err(malformed(
            format!("body of type 1 has {} bytes, not {size}", EnclaveReport::LEN),
            at,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
