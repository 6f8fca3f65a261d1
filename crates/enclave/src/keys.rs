//! The keys that an enclave's state gives: what signs, what is signed for, what secrets are encrypted to.

use curve25519_dalek::montgomery::MontgomeryPoint;
use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_core::{BootId, NodeId, PublicKey, Signature, SignedMessage};
use nautilus_proof::EnclaveKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::protocol::P256Key;
use crate::state::State;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system gives no randomness.
    #[error("the system gives no randomness ({0})")]
    Random(getrandom::Error),
    /// A P-256 key cannot be made or read.
    #[error("the P-256 key cannot be used: {0}")]
    P256(&'static str),
}

impl From<getrandom::Error> for KeyError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// A new key over P-256, in PKCS#8.
///
/// # Errors
/// If there is no randomness.
pub(crate) fn new_p256() -> Result<Vec<u8>, KeyError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map(|document| document.as_ref().to_vec())
        .map_err(|_| KeyError::P256("it cannot be generated"))
}

/// Keys in use. The private halves are wiped when they are dropped.
pub(crate) struct Keys {
    signing: SigningKey,
    channel: Zeroizing<[u8; 32]>,
    /// SEC1 compressed.
    p256: [u8; 33],
}

impl Keys {
    /// The keys of a state.
    ///
    /// # Errors
    /// If its P-256 key is none.
    pub(crate) fn of(state: &State) -> Result<Self, KeyError> {
        Ok(Self {
            signing: SigningKey::from_bytes(&state.signing),
            channel: Zeroizing::new(state.channel),
            p256: public_p256(&state.p256)?,
        })
    }

    /// The key that signs.
    pub(crate) fn tee_key(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key().to_bytes())
    }

    /// The key to which secrets are encrypted (RFC 7748 X25519).
    pub(crate) fn channel_key(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(*self.channel).to_bytes())
    }

    /// The private half of that key.
    pub(crate) fn channel(&self) -> &[u8; 32] {
        &self.channel
    }

    /// The P-256 key, as the signing key's own for this boot.
    pub(crate) fn p256(&self, node: NodeId, boot: BootId) -> P256Key {
        let key = self.p256.to_vec();
        let signature = self.sign(&EnclaveKey {
            node,
            boot,
            tee_key: self.tee_key(),
            secp256r1: key.clone(),
        });
        P256Key { key, signature }
    }

    /// Signs a message that this enclave built.
    pub(crate) fn sign(&self, message: &impl SignedMessage) -> Signature {
        Signature(self.signing.sign(&message.to_bytes()).to_bytes())
    }

    /// Signs a certificate that this enclave built: RFC 8410, section 6.
    pub(crate) fn sign_certificate(&self, to_be_signed: &crate::certificate::ToBeSigned) -> Signature {
        Signature(self.signing.sign(to_be_signed.as_der()).to_bytes())
    }
}

/// SEC1, section 2.3.3: compressed is `02` or `03` as `y` is even or odd, then `x`.
fn public_p256(pkcs8: &[u8]) -> Result<[u8; 33], KeyError> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|_| KeyError::P256("it is not one"))?;
    let unexpected = KeyError::P256("its public half is no uncompressed point");
    let Some((4, point)) = pair
        .public_key()
        .as_ref()
        .split_first()
        .map(|(form, rest)| (*form, rest))
    else {
        return Err(unexpected);
    };
    let (Some((x, y)), Some(last)) = (point.split_at_checked(32), point.last()) else {
        return Err(unexpected);
    };
    if y.len() != 32 {
        return Err(unexpected);
    }
    let mut compressed = [2 | (last & 1); 33];
    for (to, from) in compressed.iter_mut().skip(1).zip(x) {
        *to = *from;
    }
    Ok(compressed)
}
