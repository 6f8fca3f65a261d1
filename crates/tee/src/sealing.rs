//! Sealing with a key that the TEE gives: the same for all that give one.
//!
//! `"NAUTILUS-SEALED" ‖ version u8 ‖ nonce 12 ‖ AES-256-GCM(key, nonce, aad = the first 16 bytes, plaintext)`.

use nautilus_core::{Counter, Protection, SealError, Sealer};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

const HEADER: &[u8; 16] = b"NAUTILUS-SEALED\x01";

/// Seals with a key of 32 bytes. A nonce is random: state is sealed some times a day, and 2^32 times would be safe
/// (NIST SP 800-38D §8.3).
pub(crate) struct KeySealer {
    key: Zeroizing<[u8; 32]>,
    protection: Protection,
}

impl KeySealer {
    /// A sealer with a key that only this code on this platform gets, as `protection` says.
    pub(crate) fn new(key: Zeroizing<[u8; 32]>, protection: Protection) -> Self {
        Self { key, protection }
    }

    fn aead(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.key.as_slice())
            .ok()
            .map(LessSafeKey::new)
    }
}

impl Sealer for KeySealer {
    fn protection(&self) -> Protection {
        self.protection.clone()
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let failed = |what: &str| SealError::Tee {
            action: "seal",
            what: what.to_owned(),
        };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| failed("the system gives no randomness"))?;
        let mut body = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .aead()
            .and_then(|key| {
                key.seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(HEADER),
                    &mut body,
                )
                .ok()
            })
            .ok_or_else(|| failed("it is too long"))?;
        Ok([&HEADER[..], &nonce, &body, tag.as_ref()].concat())
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let not_ours = |what: &str| SealError::NotOurs {
            what: what.to_owned(),
        };
        let rest = sealed
            .strip_prefix(HEADER)
            .ok_or_else(|| not_ours("it does not start as sealed state does"))?;
        let (nonce, body) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(|| not_ours("it is too short"))?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .aead()
            .and_then(|key| {
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.open_in_place(nonce, Aad::from(HEADER), &mut body).ok()?;
                Some(opened.len())
            })
            .ok_or_else(|| not_ours("its authentication tag is for another key"))?;
        body.truncate(length);
        Ok(body)
    }

    fn counter(&self) -> Option<&dyn Counter> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8) -> KeySealer {
        let protection = Protection::Tee {
            bound_to: "a test".to_owned(),
        };
        KeySealer::new(Zeroizing::new([key; 32]), protection)
    }

    #[test]
    fn only_the_same_key_opens_what_was_sealed() {
        let sealed = sealer(1).seal(b"secret").unwrap();
        assert_eq!(*sealer(1).unseal(&sealed).unwrap(), b"secret");
        assert!(matches!(
            sealer(2).unseal(&sealed),
            Err(SealError::NotOurs { .. })
        ));
        assert_ne!(sealer(1).seal(b"secret").unwrap(), sealed);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let sealed = sealer(1).seal(b"secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(sealer(1).unseal(&changed), Err(SealError::NotOurs { .. })),
                "bit {bit}"
            );
        }
        for length in 0..sealed.len() {
            assert!(
                matches!(
                    sealer(1).unseal(&sealed[..length]),
                    Err(SealError::NotOurs { .. })
                ),
                "cut to {length}"
            );
        }
    }
}
