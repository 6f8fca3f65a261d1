//! A composition root that knows nothing: every image may run, and no evidence verifies.

use std::path::Path;
use std::sync::Arc;

use nautilus_channel::{Appraise, Judgement};
use nautilus_core::{Digest32, Evidence, EvidenceFile, PolicyId, UnixMillis, VerifyError};
use nautilus_verifier::api::AttestationOutcome;

use crate::attestation_service::{Appraiser, QuoteParts};
use crate::enclave_manager::{Expected, LaunchCheck};
use crate::runner::Grounds;

struct Nothing;

/// Grounds for tests that come to no evidence.
pub(crate) fn grounds() -> Grounds {
    Grounds {
        appraiser: Arc::new(Nothing),
        launch_check: Arc::new(Nothing),
        enclaves: Arc::new(Nothing),
    }
}

impl Appraiser for Nothing {
    fn policy(&self) -> (PolicyId, String) {
        (PolicyId([0; 32]), "none".to_owned())
    }

    fn appraise(&self, _: &EvidenceFile, _: UnixMillis) -> Result<AttestationOutcome, VerifyError> {
        Err(VerifyError::Empty)
    }

    fn parts(&self, _: &Evidence) -> QuoteParts {
        QuoteParts::default()
    }
}

impl LaunchCheck for Nothing {
    fn expect(&self, _: &Path, _: Digest32) -> Result<Expected, String> {
        Ok(Expected::default())
    }
}

impl nautilus_channel::Appraiser for Nothing {
    fn judge(&self, _: Appraise, _: UnixMillis) -> Judgement {
        Judgement::Invalid(VerifyError::Empty)
    }
}
