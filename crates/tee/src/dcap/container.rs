//! SGX quotes in the containers of versions 4 and 5, as `dcap-qvl` reads them: in version 3.
//!
//! All three hold the same header fields, enclave report and certification of the attestation key; they differ in
//! the version, the body's descriptor, and how the QE report is nested. Only the quote's own signature covers such
//! differences, and that is held against the real container's bytes.

use super::verify::{Family, Subject};
use super::wire::{EnclaveReport, HEADER_LEN, SIGNATURE_LEN};

const VERSION: u16 = 3;
/// Length of the version, the first field of the header.
const VERSION_LEN: usize = 2;
/// Signature and attestation key.
const BY_ATTESTATION_KEY: usize = 2 * SIGNATURE_LEN;

/// A quote in version 3, with the parts of another.
pub(super) struct InVersion3 {
    bytes: Vec<u8>,
    signed: usize,
}

impl InVersion3 {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What would be signed if the quote were of version 3.
    pub(super) fn signed(&self) -> &[u8] {
        self.bytes.get(..self.signed).unwrap_or_default()
    }
}

/// None for quotes that `dcap-qvl` reads as they are.
pub(super) fn in_version_3(subject: &Subject<'_>) -> Option<InVersion3> {
    if subject.family != Family::Sgx || subject.header.version == VERSION {
        return None;
    }
    let (bytes, signature) = (subject.bytes, subject.signature);
    let signed = signature.signed_length();
    let report = signed.saturating_sub(EnclaveReport::LEN);
    let qe_report = signature
        .qe_report_signature_offset
        .saturating_sub(EnclaveReport::LEN);
    let by_attestation_key = signature.offset.saturating_add(BY_ATTESTATION_KEY);
    let part = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
    let mut quote = VERSION.to_le_bytes().to_vec();
    quote.extend_from_slice(part(VERSION_LEN..HEADER_LEN));
    quote.extend_from_slice(part(report..signed));
    let signed = quote.len();
    let data = [
        part(signature.offset..by_attestation_key),
        part(qe_report..subject.extent.length),
    ]
    .concat();
    // Both were cut from evidence, whose length is bounded far below this.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    quote.extend(length.to_le_bytes());
    quote.extend(data);
    Some(InVersion3 { bytes: quote, signed })
}
