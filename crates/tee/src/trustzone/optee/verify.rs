//! Verification of OP-TEE evidence.

use std::collections::BTreeMap;

use nautilus_core::{
    Descriptor, DeviceIdentity, Endorsements, Measurement, RawClaims, Revocation, Tcb, TeeKind, TeeVerifier,
    TrustAnchorError, TrustAnchors, UnixMillis, UnsignedFact, VerifyError, Want,
};

use super::enrolled::Enrolled;
use super::{OpteeEvidence, parse, recognises};

/// Verifies evidence of OP-TEE's `attestation` service under enrolled keys: one signature if the evidence names its
/// key, else at most 16.
#[derive(Debug)]
pub struct Verifier {
    enrolled: Enrolled,
}

impl Verifier {
    /// A verifier that trusts the anchors of role `optee-key`. OP-TEE's keys have no certificates.
    ///
    /// # Errors
    /// If an anchor is no RSA public key.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        Ok(Self {
            enrolled: Enrolled::of(anchors)?,
        })
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::TrustZone,
            format: "OP-TEE attestation",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    /// Nothing: no vendor endorses OP-TEE's keys.
    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        parse(evidence).map(|_| Vec::new())
    }

    fn verify(
        &self,
        evidence: &[u8],
        _endorsements: &Endorsements,
        _now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let evidence = parse(evidence)?;
        let key = self.enrolled.signer_of(&evidence)?;
        let register = evidence.command.register().to_owned();
        Ok(RawClaims {
            device: DeviceIdentity {
                scheme: "optee-key-sha256",
                id: hex::encode(key.id()),
                family: None,
            },
            debug: false,
            tcb: Tcb::default(),
            measurements: BTreeMap::from([(register, Measurement(evidence.measurement.to_vec()))]),
            attributes: BTreeMap::from([("key_bits".to_owned(), key.bits().to_string())]),
            unsigned: unsigned(&evidence),
            revocation: Revocation::NotApplicable {
                because: "no vendor certifies an OP-TEE attestation key: whoever enrolled it takes it off the list",
            },
            made_at: None,
            endorsed_until: None,
            report_data: evidence.nonce,
        })
    }
}

/// The service signs neither which command it was given nor for which trusted application.
fn unsigned(evidence: &OpteeEvidence) -> Vec<UnsignedFact> {
    let command = evidence.command;
    let mut facts = vec![UnsignedFact {
        what: "command",
        detail: format!(
            "{} ({}) as the sender says: only the reference values of {} tell",
            command.as_str(),
            command.number(),
            command.register()
        ),
    }];
    if let Some(ta) = evidence.ta {
        facts.push(UnsignedFact {
            what: "trusted application",
            detail: format!("{ta} as the sender says: only the reference values tell"),
        });
    }
    facts
}
