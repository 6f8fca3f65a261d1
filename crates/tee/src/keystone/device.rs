//! The devices that a relying party vouches for.

use std::collections::BTreeSet;

use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors, VerifyError};

use super::ed25519_sha3::{KeyFault, PublicKey};
use crate::key_file::{self, KeyForm};

const SERVES: &str = "an Ed25519 public key in PEM or DER, as a JSON Web Key (OKP, Ed25519), as JSON with the key in \
                      hex as `public`, or as 64 hex digits would serve";

/// Public keys of enrolled devices.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices(BTreeSet<[u8; 32]>);

impl Devices {
    pub(super) fn of(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        let mut devices = BTreeSet::new();
        for anchor in anchors.of_role(AnchorRole::KeystoneDevice) {
            for form in key_file::read(anchor, SERVES)? {
                devices.insert(device_key(anchor, &form)?);
            }
        }
        Ok(Self(devices))
    }

    /// The key that a report names, if its device is enrolled.
    pub(super) fn enrolled(&self, key: &[u8; 32]) -> Result<PublicKey, VerifyError> {
        let public_key = PublicKey::new(key).map_err(|fault| key_fault("device key", fault))?;
        if self.0.contains(key) {
            return Ok(public_key);
        }
        let others = self.0.len();
        Err(VerifyError::KeyNotEnrolled {
            what: format!(
                "Keystone device key {}, none of the {others} enrolled: if you vouch for this device, give its key as \
                 a trust anchor of role `{}`",
                hex::encode(key),
                AnchorRole::KeystoneDevice
            ),
        })
    }
}

/// The error that a key in a report is none. Offsets are the caller's to add.
pub(super) fn key_fault(which: &str, fault: KeyFault) -> VerifyError {
    let weak = |why: &str| VerifyError::WeakKey {
        what: format!("{which} {why}"),
    };
    match fault {
        KeyFault::Zero => weak(
            "is all zero, a point of small order that anybody can sign for: the machine started without a boot ROM \
             that makes keys, or its security monitor gave no report",
        ),
        KeyFault::SmallOrder => weak("is a point of small order, which anybody can sign for"),
        KeyFault::NotCanonical => weak("is not in the one encoding of its point"),
        KeyFault::NotOnCurve => VerifyError::SignatureInvalid {
            what: format!("{which} is no point of the curve"),
        },
    }
}

fn device_key(anchor: &TrustAnchor, form: &KeyForm) -> Result<[u8; 32], TrustAnchorError> {
    let key = form
        .ed25519()
        .map_err(|why| anchor.refused(format!("it is no Ed25519 key: {SERVES} ({why})")))?;
    let refused = |why: &str| Err(anchor.refused(format!("the key {why}, so that it vouches for nothing")));
    match PublicKey::new(&key) {
        Ok(_) => Ok(key),
        Err(KeyFault::Zero) => refused("is all zero"),
        Err(KeyFault::SmallOrder) => refused("is a point of small order"),
        Err(KeyFault::NotCanonical) => refused("is not in the one encoding of its point"),
        Err(KeyFault::NotOnCurve) => refused("is no point of the curve"),
    }
}

#[cfg(test)]
mod tests;
