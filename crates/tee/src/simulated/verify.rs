//! Verification of simulated evidence: the SGX verifier, under the simulated vendor's root.

use nautilus_core::{
    Descriptor, Endorsements, MAX_EVIDENCE, RawClaims, TeeKind, TeeVerifier, TrustAnchorError, TrustAnchors,
    UnixMillis, VerifierSet, VerifyError, Want,
};

use super::DESCRIPTOR;
use crate::sgx;

/// Verifies the evidence of the platform whose vendor has this root, given in DER.
pub fn verifier(root_der: Vec<u8>) -> Box<dyn TeeVerifier> {
    Box::new(Verifier {
        sgx: sgx::Verifier::with_root(root_der.clone(), TeeKind::Simulated),
        root_der,
    })
}

/// The verifiers of real hardware, and this one, which proves nothing. For development.
///
/// # Errors
/// If an anchor cannot be used as what it is given for.
pub fn verifier_set(root_der: Vec<u8>, anchors: &TrustAnchors) -> Result<VerifierSet, TrustAnchorError> {
    #[expect(
        clippy::expect_used,
        reason = "one verifier here is of the simulated TEE, and none on the list is"
    )]
    Ok(
        VerifierSet::dangerous_with_simulated(crate::verifiers(anchors)?, verifier(root_der))
            .expect("the list holds hardware"),
    )
}

struct Verifier {
    sgx: sgx::Verifier,
    root_der: Vec<u8>,
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        DESCRIPTOR
    }

    /// Only what comes with this root, so that a quote of real SGX is left to the verifier of SGX.
    fn recognises(&self, evidence: &[u8]) -> bool {
        if evidence.len() > MAX_EVIDENCE {
            return false;
        }
        sgx::parse_quote(evidence)
            .ok()
            .and_then(|quote| pem::parse_many(&quote.signature.certification.data).ok())
            .and_then(|chain| chain.last().map(|root| root.contents() == self.root_der))
            .unwrap_or_default()
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        self.sgx.wants(evidence)
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let mut claims = self.sgx.verify(evidence, endorsements, now)?;
        // No Intel device has this name.
        claims.device.scheme = "simulated-ppid";
        Ok(claims)
    }
}
