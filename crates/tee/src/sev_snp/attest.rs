//! The attester.

use nautilus_core::AttestError;

use crate::{Platform, PlatformOptions};

/// What SEV-SNP offers to the code that runs on it.
pub(crate) fn platform(_: &PlatformOptions) -> Result<Platform, AttestError> {
    Err(AttestError::Unsupported {
        what: "this TEE has no attester yet".to_owned(),
    })
}
