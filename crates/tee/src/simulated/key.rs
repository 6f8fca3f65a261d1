//! ECDSA keys over P-256: the platform's, the vendor's and those that live in memory only.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _,
};
use zeroize::Zeroizing;

use super::SimulatedError;

/// A new private key in PKCS#8.
///
/// # Errors
/// If the system gives no randomness.
pub(super) fn generate() -> Result<Zeroizing<Vec<u8>>, SimulatedError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(|_| SimulatedError::Crypto {
            what: "no key could be generated".to_owned(),
        })
}

/// An array from the system's randomness.
///
/// # Errors
/// If the system gives none.
#[cfg(feature = "verify")]
pub(super) fn random<const N: usize>() -> Result<[u8; N], SimulatedError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes)
        .map(|()| bytes)
        .map_err(|_| SimulatedError::Crypto {
            what: "the system gives no randomness".to_owned(),
        })
}

/// A key that signs as quotes and Intel's JSON documents want it: `r ‖ s`, 32 bytes each, big-endian.
pub(super) struct RawKey {
    pair: EcdsaKeyPair,
    public: [u8; 64],
}

impl RawKey {
    /// The key in PKCS#8 `bytes`; none if they are not one.
    pub(super) fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        let pair = parse(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)?;
        // SEC1, section 2.3.3: an uncompressed point is 4, then x and y.
        let public = pair.public_key().as_ref().strip_prefix(&[4])?.try_into().ok()?;
        Some(Self { pair, public })
    }

    /// `x ‖ y`.
    pub(super) const fn public(&self) -> &[u8; 64] {
        &self.public
    }

    /// The public key as certificates have it.
    #[cfg(feature = "verify")]
    pub(super) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs SHA-256 of `message`; none if the system gives no randomness.
    pub(super) fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .ok()?
            .as_ref()
            .try_into()
            .ok()
    }
}

/// A key that signs certificates and CRLs, whose signatures are in DER.
#[cfg(feature = "verify")]
pub(super) struct CaKey(EcdsaKeyPair);

#[cfg(feature = "verify")]
impl CaKey {
    /// The key in PKCS#8 `bytes`; none if they are not one.
    pub(super) fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        parse(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes).map(Self)
    }

    /// The public key as certificates have it.
    pub(super) fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

#[cfg(feature = "verify")]
impl rcgen::PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

#[cfg(feature = "verify")]
impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(feature = "verify")]
impl rcgen::PublicKeyData for RawKey {
    fn der_bytes(&self) -> &[u8] {
        self.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn parse(algorithm: &'static EcdsaSigningAlgorithm, bytes: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(algorithm, bytes, &SystemRandom::new()).ok()
}
