//! The attestation keys that a relying party vouches for.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors, VerifyError};
use sha2::{Digest as _, Sha256};

use super::OpteeEvidence;
use super::wire::MODULUS_LEN;
use crate::key_file::{self, KeyForm, RsaNumbers};
use crate::signature;

/// Shortest modulus whose signatures count (NIST SP 800-131A, section 3).
const MIN_BITS: usize = 2048;
/// Most keys that are tried on evidence that does not name its own.
const MAX_TRIED: usize = 16;
const SERVES: &str = "an RSA public key in PEM or DER, as a JSON Web Key (RSA), or as JSON with `n_hex` and `e_hex` \
                      would serve";

/// Enrolled keys by their id, the SHA-256 of the modulus.
#[derive(Debug, Default)]
pub(super) struct Enrolled(BTreeMap<[u8; 32], Key>);

/// One device's key.
pub(super) struct Key {
    id: [u8; 32],
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    verifying: ParsedPublicKey,
}

impl Enrolled {
    pub(super) fn of(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        let mut keys = BTreeMap::new();
        for anchor in anchors.of_role(AnchorRole::OpteeKey) {
            for form in key_file::read(anchor, SERVES)? {
                let key = Key::of(anchor, &form)?;
                match keys.get(&key.id) {
                    Some(Key { exponent, .. }) if *exponent != key.exponent => {
                        return Err(anchor.refused(
                            "another enrolled key has the same modulus and another exponent: one of them is wrong",
                        ));
                    }
                    _ => keys.insert(key.id, key),
                };
            }
        }
        Ok(Self(keys))
    }

    /// The key that signed. One signature is verified if the evidence names its key, else at most 16.
    pub(super) fn signer_of(&self, evidence: &OpteeEvidence) -> Result<&Key, VerifyError> {
        let candidates = self.candidates(evidence)?;
        // All have one length.
        if let Some(weak) = candidates.iter().find(|key| key.bits() < MIN_BITS) {
            return Err(VerifyError::WeakKey {
                what: format!(
                    "OP-TEE attestation key {} has {} bits, at least {MIN_BITS} are needed: build OP-TEE with a larger \
                     CFG_ATTESTATION_PTA_KEY_SIZE",
                    hex::encode(weak.id),
                    weak.bits()
                ),
            });
        }
        let message = [evidence.nonce.as_slice(), &evidence.measurement].concat();
        // OP-TEE gives the signature function SHA-256(message), which is what PSS signs: nothing is hashed twice.
        let signer = candidates
            .iter()
            .find(|key| signature::by_key(&key.verifying, &message, &evidence.signature).is_ok());
        signer.copied().ok_or_else(|| VerifyError::SignatureInvalid {
            what: match candidates.as_slice() {
                [key] => format!(
                    "over nonce and measurement, by enrolled key {}",
                    hex::encode(key.id)
                ),
                keys => format!(
                    "over nonce and measurement, by any of {} enrolled keys",
                    keys.len()
                ),
            },
        })
    }

    fn candidates(&self, evidence: &OpteeEvidence) -> Result<Vec<&Key>, VerifyError> {
        let length = evidence.signature.len();
        let enrol = format!(
            "if you vouch for this device, give its key as a trust anchor of role `{}`",
            AnchorRole::OpteeKey
        );
        let not_enrolled = |what: String| VerifyError::KeyNotEnrolled { what };
        if let Some(id) = evidence.key_id {
            let name = hex::encode(id);
            let key = self
                .0
                .get(&id)
                .ok_or_else(|| not_enrolled(format!("OP-TEE attestation key {name}: {enrol}")))?;
            if key.modulus.len() != length {
                return Err(VerifyError::SignatureInvalid {
                    what: format!(
                        "signature has {length} bytes, those of enrolled key {name} have {}",
                        key.modulus.len()
                    ),
                });
            }
            return Ok(vec![key]);
        }
        let keys: Vec<_> = self
            .0
            .values()
            .filter(|key| key.modulus.len() == length)
            .collect();
        match keys.len() {
            0 => Err(not_enrolled(format!(
                "none of the {} enrolled OP-TEE attestation keys makes signatures of {length} bytes: {enrol}",
                self.0.len()
            ))),
            1..=MAX_TRIED => Ok(keys),
            count => Err(VerifyError::Unsupported {
                what: format!(
                    "OP-TEE evidence that does not name its key, where {count} enrolled keys could have signed and at \
                     most {MAX_TRIED} are tried: add `key_id`"
                ),
            }),
        }
    }
}

impl Key {
    fn of(anchor: &TrustAnchor, form: &KeyForm) -> Result<Self, TrustAnchorError> {
        let RsaNumbers { modulus, exponent } = form
            .rsa()
            .map_err(|why| anchor.refused(format!("it is no RSA public key: {SERVES} ({why})")))?;
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !MODULUS_LEN.contains(&modulus.len()) || !odd(&modulus) {
            let bits = modulus.len().saturating_mul(8);
            return Err(anchor.refused(format!(
                "its modulus of {bits} bits is none of RSA: an odd number of 1024 to 8192 bits would serve"
            )));
        }
        // With an exponent of 1 each message would be its own signature.
        if exponent.len() > 4 || !odd(&exponent) || exponent == [1] {
            return Err(anchor.refused("its exponent is not an odd number from 3 to 2^32"));
        }
        let components = RsaPublicKeyComponents {
            n: modulus.as_slice(),
            e: exponent.as_slice(),
        };
        let verifying = components
            .to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
            .map_err(|error| anchor.refused(format!("it is no RSA public key: {error}")))?;
        Ok(Self {
            id: Sha256::digest(&modulus).into(),
            modulus,
            exponent,
            verifying,
        })
    }

    pub(super) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub(super) fn bits(&self) -> usize {
        let unused = self.modulus.first().map_or(0, |first| first.leading_zeros());
        self.modulus
            .len()
            .saturating_mul(8)
            .saturating_sub(usize::try_from(unused).unwrap_or(0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &hex::encode(self.id))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
