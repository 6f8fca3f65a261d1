//! Whether an attestation key signed a quote.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPssSaltLength, RsaPublicKeyComponents,
};
use nautilus_core::{UnsignedFact, VerifyError};

use super::public::{Curve, Public, PublicKey};
use super::spki;
use super::wire::{ALG_RSASSA, AlgorithmId, HashAlgorithm, Signature};
use crate::signature::{by_bytes, by_rsa};

/// Half the order of P-256, rounded down (FIPS 186-4, D.1.2.3).
const HALF_ORDER_P256: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde,
    0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];
/// Half the order of P-384, rounded down (FIPS 186-4, D.1.2.4).
const HALF_ORDER_P384: [u8; 48] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe3, 0xb1, 0xa6, 0xc0, 0xfa, 0x1b, 0x96, 0xef, 0xac, 0x0d,
    0x06, 0xd9, 0x24, 0x58, 0x53, 0xbd, 0x76, 0x76, 0x0c, 0xb5, 0x66, 0x62, 0x94, 0xb9,
];

/// Checks that `key` made `signature` over `attest`. Gives the hash of its scheme, which is also that of the PCR
/// digest, and what is unusual about the signature's own bytes.
///
/// # Errors
/// `WeakKey` for a hash that is not relied upon; `SignatureInvalid`.
pub(super) fn verify(
    key: &Public,
    attest: &[u8],
    signature: &Signature,
) -> Result<(HashAlgorithm, Vec<UnsignedFact>), VerifyError> {
    let (scheme, hash_id) = signature.algorithms();
    let hash = HashAlgorithm::of_id(hash_id).ok_or_else(|| VerifyError::WeakKey {
        what: format!("the quote is signed over its {hash_id} digest: sha256, sha384 or sha512 is needed"),
    })?;
    if let Some(own) = key.scheme
        && own != (scheme, hash_id)
    {
        return Err(invalid(format!(
            "it is {scheme} with {hash_id}, the attestation key signs by {} with {}",
            own.0, own.1
        )));
    }
    match (&key.key, signature) {
        (PublicKey::Rsa { modulus, exponent }, Signature::Rsa { signature, .. }) => {
            verify_rsa(modulus, *exponent, (scheme, hash), attest, signature)?;
            Ok((hash, Vec::new()))
        }
        (PublicKey::Ecc { curve, .. }, Signature::Ecdsa { r, s, .. }) => {
            let point = key.key.point().unwrap_or_default();
            verify_ecdsa((*curve, hash), &point, attest, (r, s))?;
            Ok((hash, ecdsa_facts(*curve, r, s)))
        }
        (PublicKey::Rsa { .. }, Signature::Ecdsa { .. }) => {
            Err(invalid("it is ecdsa, the attestation key is of RSA".to_owned()))
        }
        (PublicKey::Ecc { .. }, Signature::Rsa { .. }) => Err(invalid(format!(
            "it is {scheme}, the attestation key is on a curve"
        ))),
    }
}

fn verify_rsa(
    modulus: &[u8],
    exponent: u32,
    (scheme, hash): (AlgorithmId, HashAlgorithm),
    attest: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let exponent = exponent.to_be_bytes();
    let leading = exponent.iter().take_while(|byte| **byte == 0).count();
    let key = RsaPublicKeyComponents {
        n: modulus,
        e: exponent.get(leading..).unwrap_or_default(),
    };
    let refused = |_| invalid("it is not the attestation key's over this quote".to_owned());
    if scheme.0 == ALG_RSASSA {
        let parameters = match hash {
            HashAlgorithm::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            HashAlgorithm::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
            HashAlgorithm::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
        };
        return by_rsa(parameters, &key, attest, signature).map_err(refused);
    }
    let (digest_salt, longest_salt) = match hash {
        HashAlgorithm::Sha256 => (RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256),
        HashAlgorithm::Sha384 => (RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA384),
        HashAlgorithm::Sha512 => (RSA_PSS_2048_8192_SHA512, RSA_PSS_2048_8192_SHA512),
    };
    // A TPM salts with as many bytes as the key has room for, or with as many as the digest has where it follows
    // FIPS 186-4 (part 1, annex B.7, "RSASSA_PSS").
    let longest_salt = longest_salt.with_pss_salt_length(RsaPssSaltLength::Max);
    by_rsa(&digest_salt, &key, attest, signature)
        .or_else(|_| by_rsa(&longest_salt, &key, attest, signature))
        .map_err(refused)
}

fn verify_ecdsa(
    (curve, hash): (Curve, HashAlgorithm),
    point: &[u8],
    attest: &[u8],
    (r, s): (&[u8], &[u8]),
) -> Result<(), VerifyError> {
    let algorithm: &'static EcdsaVerificationAlgorithm = match (curve, hash) {
        (Curve::P256, HashAlgorithm::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (Curve::P256, HashAlgorithm::Sha384) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P256, HashAlgorithm::Sha512) => &ECDSA_P256_SHA512_ASN1,
        (Curve::P384, HashAlgorithm::Sha256) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P384, HashAlgorithm::Sha384) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, HashAlgorithm::Sha512) => &ECDSA_P384_SHA512_ASN1,
    };
    let signature = in_der(curve, r, s)
        .ok_or_else(|| invalid("r or s is no number below the curve's order".to_owned()))?;
    by_bytes(algorithm, point, attest, &signature)
        .map_err(|_| invalid("it is not the attestation key's over this quote".to_owned()))
}

fn in_der(curve: Curve, r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    if r.len() > curve.coordinate_len() || s.len() > curve.coordinate_len() || r.is_empty() || s.is_empty() {
        return None;
    }
    spki::encode_two_integers(r, s).ok()
}

/// Of two ECDSA signatures that verify, `(r, s)` and `(r, n − s)`, TPMs make either; and they pad `r` and `s`.
fn ecdsa_facts(curve: Curve, r: &[u8], s: &[u8]) -> Vec<UnsignedFact> {
    let mut facts = Vec::new();
    let missing = curve.coordinate_len().saturating_sub(s.len());
    let padded = [&vec![0; missing], s].concat();
    let half: &[u8] = match curve {
        Curve::P256 => &HALF_ORDER_P256,
        Curve::P384 => &HALF_ORDER_P384,
    };
    if padded.as_slice() > half {
        facts.push(UnsignedFact {
            what: "high-s quote signature",
            detail: "s has a lower twin that verifies as well".to_owned(),
        });
    }
    if r.len() != curve.coordinate_len() || s.len() != curve.coordinate_len() {
        facts.push(UnsignedFact {
            what: "unusual encoding of the quote signature",
            detail: format!(
                "r has {} bytes and s {}, the curve's order has {}",
                r.len(),
                s.len(),
                curve.coordinate_len()
            ),
        });
    }
    facts
}

fn invalid(what: String) -> VerifyError {
    VerifyError::SignatureInvalid {
        what: format!("the quote's: {what}"),
    }
}
