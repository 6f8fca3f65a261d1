//! Getting evidence from a TEE: what an attester of each kind offers to the enclave.

use crate::{Descriptor, ReportData};

/// Makes the evidence of one TEE, from inside it.
pub trait Attester: Send + Sync {
    /// What this attester is: the same as that of the verifier which accepts its evidence.
    fn descriptor(&self) -> Descriptor;

    /// Has the TEE sign `report_data`, and gives the raw evidence. It may block on a device.
    ///
    /// # Errors
    /// If the device, the vendor's service or a file that is needed does not do its part.
    fn attest(&self, report_data: &ReportData) -> Result<Vec<u8>, AttestError>;
}

/// Why there is no evidence, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The vendor's part of the TEE: its quoting enclave, firmware or service.
    #[error("the TEE's vendor component made no evidence: {what}")]
    Vendor {
        /// Which, and why.
        what: String,
    },
}
