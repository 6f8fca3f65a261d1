//! One verifier for what the TrustZone family signs, by the format that the evidence has.

use nautilus_core::{
    AnchorRole, Descriptor, Endorsements, RawClaims, TeeKind, TeeVerifier, TrustAnchorError, TrustAnchors,
    UnixMillis, VerifyError, Want,
};

use super::enrolled::Keys;
use super::{cca, psa};

/// Verifies PSA and CCA tokens by the keys that the relying party enrolled: no vendor's root is known for them.
#[derive(Debug)]
pub struct Verifier {
    optee: super::optee::Verifier,
    psa: Keys,
    cca: Keys,
}

impl Verifier {
    /// The verifier of devices whose keys are among `anchors`, with the roles `psa-key` and `cca-key`.
    ///
    /// # Errors
    /// If an anchor of these roles is no key that can verify.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        Ok(Self {
            optee: super::optee::Verifier::new(anchors)?,
            psa: Keys::read(anchors, AnchorRole::PsaKey)?,
            cca: Keys::read(anchors, AnchorRole::CcaKey)?,
        })
    }
}

/// The formats, told apart by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Psa,
    Cca,
    Optee,
}

impl Format {
    fn of(evidence: &[u8]) -> Option<Self> {
        if cca::recognises(evidence) {
            return Some(Self::Cca);
        }
        if super::optee::recognises(evidence) {
            return Some(Self::Optee);
        }
        psa::recognises(evidence).then_some(Self::Psa)
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::TrustZone,
            format: "PSA or CCA attestation token",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        Format::of(evidence).is_some()
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        match Format::of(evidence) {
            Some(Format::Optee) => return self.optee.wants(evidence),
            Some(Format::Psa) => psa::read(evidence).map(drop)?,
            Some(Format::Cca) => cca::read(evidence).map(drop)?,
            None => return Err(VerifyError::NotRecognised),
        }
        Ok(Vec::new())
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        match Format::of(evidence) {
            Some(Format::Optee) => self.optee.verify(evidence, endorsements, now),
            Some(Format::Psa) => psa::verify(evidence, &self.psa),
            Some(Format::Cca) => cca::verify(evidence, &self.cca),
            None => Err(VerifyError::NotRecognised),
        }
    }
}
