//! Signatures and digests by `aws-lc-rs`, for `dcap-qvl` and for quotes whose other signatures are known.

use std::cell::RefCell;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::signature::DerSigEncoder;
use dcap_qvl::x509::X509CertBackend;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

use crate::signature;

/// How a public key starts that is an uncompressed point (SEC1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// Such a key's length on P-256.
const POINT_LEN: usize = 65;

/// `dcap-qvl` with its own parsers and the cryptography of `aws-lc-rs`.
pub(super) struct AwsLcRs;

impl Config for AwsLcRs {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for AwsLcRs {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        &EcdsaP256Sha256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        digest_of(&digest::SHA256, data)
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        digest_of(&digest::SHA384, data)
    }
}

fn digest_of<const N: usize>(algorithm: &'static digest::Algorithm, data: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest::digest(algorithm, data).as_ref());
    out
}

/// The attestation key of a quote that was verified.
pub(super) struct AttestationKey(ParsedPublicKey);

impl AttestationKey {
    /// None if `x ‖ y` is no point of P-256.
    pub(super) fn new(coordinates: &[u8; 64]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(coordinates))
            .ok()
            .map(Self)
    }

    /// Whether `signature`, `r ‖ s`, is this key's over SHA-256 of `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        signature::by_key(&self.0, message, signature).is_ok()
    }
}

/// Whether `signature`, `r ‖ s`, is that of the key at the uncompressed point `key`.
pub(super) fn signed(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    signature::by_bytes(&ECDSA_P256_SHA256_FIXED, key, message, signature).is_ok()
}

/// Whether `signature` in DER is that of the key at the uncompressed point `key`.
pub(super) fn signed_in_der(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    EcdsaP256Sha256.verify(key, message, signature).is_ok()
}

/// The quote that `dcap-qvl` is shown in place of one in a container that it does not read.
pub(super) struct StandIn {
    /// What it takes for the signed bytes.
    pub shown: Vec<u8>,
    /// What the attestation key has to have signed: the real container's bytes.
    pub signed: Vec<u8>,
    /// `x ‖ y` of the attestation key.
    pub key: [u8; 64],
}

thread_local! {
    // `dcap-qvl` takes a `'static` algorithm, so what holds for one run only cannot travel with it.
    static STAND_IN: RefCell<Option<StandIn>> = const { RefCell::new(None) };
}

impl StandIn {
    /// Runs `verification` with the attestation key's signature held against the real bytes. Every other signature
    /// is over bytes of another form: certificates and CRLs start with 0x30, Intel's JSON with `{`, and an enclave
    /// report is shorter than what is shown.
    pub(super) fn during<T>(self, verification: impl FnOnce() -> T) -> T {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                STAND_IN.take();
            }
        }
        let _reset = Reset;
        STAND_IN.replace(Some(self));
        verification()
    }
}

#[derive(Debug)]
struct EcdsaP256Sha256;

impl EcdsaP256Sha256 {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        // Certificates hold uncompressed points (RFC 5480, section 2.2, and Intel's profile); aws-lc takes others too.
        if public_key.len() != POINT_LEN || public_key.first() != Some(&UNCOMPRESSED) {
            return Err(InvalidSignature);
        }
        signature::by_bytes(&ECDSA_P256_SHA256_ASN1, public_key, message, signature)
            .map_err(|_| InvalidSignature)
    }
}

impl SignatureVerificationAlgorithm for EcdsaP256Sha256 {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }

    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        STAND_IN.with_borrow(|stand_in| match stand_in {
            Some(real) if real.shown == message && point(&real.key) == public_key => {
                self.verify(public_key, &real.signed, signature)
            }
            _ => self.verify(public_key, message, signature),
        })
    }
}

fn point(coordinates: &[u8; 64]) -> [u8; POINT_LEN] {
    let mut point = [UNCOMPRESSED; POINT_LEN];
    if let Some((_, rest)) = point.split_first_mut() {
        rest.copy_from_slice(coordinates);
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // FIPS 180-4, of `abc`.
        assert_eq!(
            hex::encode(AwsLcRs::sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(AwsLcRs::sha384(b"abc")),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7"
        );
    }

    #[test]
    fn only_uncompressed_points_are_keys() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = pair.sign(&random, b"message").unwrap();
        let key = pair.public_key().as_ref();
        let algorithm = AwsLcRs::sig_algo();
        let verify = |key: &[u8], message: &[u8]| {
            algorithm
                .verify_signature(key, message, signature.as_ref())
                .is_ok()
        };
        assert!(verify(key, b"message"));
        assert!(!verify(key, b"massage"));
        let mut compressed = key[..33].to_vec();
        compressed[0] = 2 + (key[64] & 1);
        assert!(!verify(&compressed, b"message"));
        assert!(!verify(&key[1..], b"message"));
        assert!(!verify(&[], b"message"));
        assert!(AttestationKey::new(&[0x11; 64]).is_none());
    }

    #[test]
    fn a_stand_in_counts_for_its_bytes_its_key_and_its_run_only() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pairs = [(); 2].map(|()| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
        let [pair, other] = &pairs;
        let key: [u8; 64] = pair.public_key().as_ref()[1..].try_into().unwrap();
        let verify = |pair: &EcdsaKeyPair, message: &[u8], signed: &[u8]| {
            let signature = pair.sign(&random, signed).unwrap();
            AwsLcRs::sig_algo()
                .verify_signature(pair.public_key().as_ref(), message, signature.as_ref())
                .is_ok()
        };
        let stand_in = StandIn {
            shown: b"shown".to_vec(),
            signed: b"real".to_vec(),
            key,
        };
        stand_in.during(|| {
            assert!(verify(pair, b"shown", b"real"));
            assert!(!verify(pair, b"shown", b"shown"));
            assert!(verify(pair, b"another", b"another"));
            assert!(!verify(other, b"shown", b"real"));
            assert!(verify(other, b"shown", b"shown"));
        });
        assert!(!verify(pair, b"shown", b"real"));
        assert!(verify(pair, b"shown", b"shown"));
    }
}
