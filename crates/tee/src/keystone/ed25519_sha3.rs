//! Keystone's signatures: Ed25519 (RFC 8032) with SHA3-512 wherever RFC 8032 has SHA-512. Strict: each valid
//! signature has one encoding, and no key with which signatures mean nothing is taken.

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::ExpandedSecretKey;
use sha3::{Digest as _, Sha3_512};

use crate::signature;

/// A public key that only somebody with its private half can sign for.
pub(super) struct PublicKey(VerifyingKey);

/// Why 32 bytes are no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFault {
    /// All zero: the place of a key that was never written. It is also a point of order 4.
    Zero,
    /// A point of small order: anybody can make signatures that verify.
    SmallOrder,
    /// Not the one encoding of its point.
    NotCanonical,
    /// Not a point of the curve.
    NotOnCurve,
}

impl PublicKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, KeyFault> {
        if *bytes == [0; 32] {
            return Err(KeyFault::Zero);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyFault::NotOnCurve)?;
        if key.is_weak() {
            return Err(KeyFault::SmallOrder);
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyFault::NotCanonical);
        }
        Ok(Self(key))
    }

    /// Whether `signature` is this key's over `message`. It is compared with the point that it should be, without
    /// the cofactor (RFC 8032, section 5.1.7): of an R there is one encoding, and S is below the group's order.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (r, _) = signature.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
        let r_is_sound = VerifyingKey::from_bytes(r).is_ok_and(|r| !r.is_weak());
        r_is_sound && signature::by_ed25519_sha3(&self.0, message, signature).is_ok()
    }

    /// The key whose private half is made of `seed` (RFC 8032, section 5.1.5): one multiplication of the base
    /// point.
    pub(super) fn of_seed(seed: &[u8; 32]) -> [u8; 32] {
        let secret = ExpandedSecretKey::from_bytes(&Sha3_512::digest(seed).into());
        VerifyingKey::from(&secret).to_bytes()
    }
}

#[cfg(test)]
mod tests;
