//! Quotes of the simulated platform, byte for byte as Intel's quoting enclave lays them out.
//!
//! Layout: Intel, *SGX ECDSA QuoteLib Reference: DCAP API*, appendix "Quote Format". Little-endian throughout.

use nautilus_core::{AttestError, Attester, Descriptor, Endorsements, RawEvidence, ReportData};

use super::DESCRIPTOR;
use super::description::Description;
use super::key::RawKey;
use super::platform::XFRM;
use crate::dcap::wire::{ATT_KEY_ECDSA_P256, CERT_PCK_CHAIN, INTEL_QE_VENDOR_ID, TEE_TYPE_SGX};

const QUOTE_VERSION: u16 = 3;
/// `INIT | MODE64BIT`.
const FLAGS: u64 = 0x5;
const FLAG_DEBUG: u64 = 0x2;

/// Whether a debugger may look into an enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnclaveMode {
    /// None may.
    Production,
    /// One may, and the claims say so: nothing such an enclave says can be relied upon.
    Debug,
}

/// An enclave to be launched on the simulated platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// SHA-256 of the enclave's binary, in place of the measurement that hardware would make of its pages.
    pub mrenclave: [u8; 32],
    /// Product id.
    pub isv_prod_id: u16,
    /// Security version.
    pub isv_svn: u16,
    /// Whether it can be debugged.
    pub mode: EnclaveMode,
}

impl Image {
    /// A production enclave of the first product, in its first security version.
    pub const fn production(mrenclave: [u8; 32]) -> Self {
        Self {
            mrenclave,
            isv_prod_id: 1,
            isv_svn: 1,
            mode: EnclaveMode::Production,
        }
    }
}

/// Makes quotes for one enclave on the simulated platform.
pub struct SimulatedAttester {
    attestation_key: RawKey,
    certification: QeCertification,
    description: Description,
    image: Image,
}

impl SimulatedAttester {
    pub(super) const fn new(
        attestation_key: RawKey,
        certification: QeCertification,
        description: Description,
        image: Image,
    ) -> Self {
        Self {
            attestation_key,
            certification,
            description,
            image,
        }
    }

    /// What the quoting enclave signs: header and enclave report.
    fn signed_part(&self, report_data: &ReportData) -> Vec<u8> {
        let Description {
            cpu_svn,
            pce_svn,
            mrsigner,
            qe_id,
            ref qe,
            ..
        } = self.description;
        let mut bytes = Vec::with_capacity(432);
        bytes.extend(QUOTE_VERSION.to_le_bytes());
        bytes.extend(ATT_KEY_ECDSA_P256.to_le_bytes());
        bytes.extend(TEE_TYPE_SGX.to_le_bytes());
        bytes.extend(qe.isv_svn.to_le_bytes());
        bytes.extend(pce_svn.to_le_bytes());
        bytes.extend(INTEL_QE_VENDOR_ID);
        bytes.extend(qe_id);
        bytes.extend([0; 4]);
        let flags = match self.image.mode {
            EnclaveMode::Production => FLAGS,
            EnclaveMode::Debug => FLAGS | FLAG_DEBUG,
        };
        let report = EnclaveReport {
            cpu_svn,
            flags,
            xfrm: XFRM,
            mrenclave: self.image.mrenclave,
            mrsigner,
            isv_prod_id: self.image.isv_prod_id,
            isv_svn: self.image.isv_svn,
            report_data: *report_data.as_bytes(),
        };
        bytes.extend(report.to_bytes());
        bytes
    }
}

#[cfg(test)]
impl SimulatedAttester {
    /// A quote of the same enclave in the container of version 4 or 5, signed anew.
    pub(super) fn attest_in(&self, version: u16, report_data: &ReportData) -> Vec<u8> {
        let signed = self.signed_part(report_data);
        let (header, report) = signed.split_at(crate::dcap::wire::HEADER_LEN);
        let mut quote = version.to_le_bytes().to_vec();
        quote.extend(&header[2..8]);
        // Where version 3 has the security versions of QE and PCE.
        quote.extend([0; 4]);
        quote.extend(&header[12..]);
        if version == 5 {
            quote.extend(1_u16.to_le_bytes());
            quote.extend(u32::try_from(report.len()).unwrap().to_le_bytes());
        }
        quote.extend(report);
        let mut certification = Vec::new();
        self.certification.append_to(&mut certification).unwrap();
        let mut data = self.attestation_key.sign(&quote).unwrap().to_vec();
        data.extend(self.attestation_key.public());
        data.extend(crate::dcap::wire::CERT_QE_REPORT.to_le_bytes());
        append_sized::<4>(&mut data, &certification).unwrap();
        append_sized::<4>(&mut quote, &data).unwrap();
        quote
    }
}

impl Attester for SimulatedAttester {
    fn descriptor(&self) -> Descriptor {
        DESCRIPTOR
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let failed = |what: &str| AttestError::Vendor {
            what: what.to_owned(),
        };
        let mut quote = self.signed_part(report_data);
        let signature = self.attestation_key.sign(&quote).ok_or_else(|| {
            failed("the simulated quoting enclave did not sign: the system gives no randomness")
        })?;
        let mut data = Vec::new();
        data.extend(signature);
        data.extend(self.attestation_key.public());
        self.certification
            .append_to(&mut data)
            .and_then(|()| append_sized::<4>(&mut quote, &data))
            .ok_or_else(|| failed("the simulated platform's certificate chain is too long for a quote"))?;
        Ok(RawEvidence {
            bytes: quote,
            endorsements: Endorsements::default(),
            event_log: None,
        })
    }
}

/// What vouches for the attestation key.
pub(super) struct QeCertification {
    /// The quoting enclave's report.
    pub(super) report: Vec<u8>,
    /// `r ‖ s` over it, by the platform's key.
    pub(super) signature: [u8; 64],
    pub(super) auth_data: [u8; 32],
    /// Leaf, platform CA and root in PEM, as they stand in a quote.
    pub(super) pck_chain: Vec<u8>,
}

impl QeCertification {
    fn append_to(&self, data: &mut Vec<u8>) -> Option<()> {
        data.extend(&self.report);
        data.extend(self.signature);
        append_sized::<2>(data, &self.auth_data)?;
        data.extend(CERT_PCK_CHAIN.to_le_bytes());
        append_sized::<4>(data, &self.pck_chain)
    }
}

/// Appends bytes after their length, which takes `WIDTH` bytes; none if it does not fit.
fn append_sized<const WIDTH: usize>(to: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let length = u64::try_from(bytes.len()).ok()?.to_le_bytes();
    let (length, rest) = length.split_at_checked(WIDTH)?;
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    to.extend(length);
    to.extend(bytes);
    Some(())
}

/// The fields of an enclave report that the simulated platform fills; the others are zero.
pub(super) struct EnclaveReport {
    pub(super) cpu_svn: [u8; 16],
    pub(super) flags: u64,
    pub(super) xfrm: u64,
    pub(super) mrenclave: [u8; 32],
    pub(super) mrsigner: [u8; 32],
    pub(super) isv_prod_id: u16,
    pub(super) isv_svn: u16,
    pub(super) report_data: [u8; 64],
}

impl EnclaveReport {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(crate::dcap::wire::EnclaveReport::LEN);
        bytes.extend(self.cpu_svn);
        // MISCSELECT and reserved bytes.
        bytes.extend([0; 4 + 28]);
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.xfrm.to_le_bytes());
        bytes.extend(self.mrenclave);
        bytes.extend([0; 32]);
        bytes.extend(self.mrsigner);
        bytes.extend([0; 96]);
        bytes.extend(self.isv_prod_id.to_le_bytes());
        bytes.extend(self.isv_svn.to_le_bytes());
        bytes.extend([0; 60]);
        bytes.extend(self.report_data);
        bytes
    }
}
